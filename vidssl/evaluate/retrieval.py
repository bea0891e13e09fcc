"""Retrieval: is one of the k nearest videos of the same class? No training, so it measures the feature itself.

Source: the protocol of Buechler et al., ECCV 2018, as VCOP (Xu et al., CVPR 2019) uses it: cosine distance, queries
from the test videos, neighbours from the training videos, a hit where any of the k neighbours has the query's class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import comb
from pathlib import Path

import numpy as np
import torch

from vidssl.evaluate.cache import run_features
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import label_ids, max_k, nearest
from vidssl.evaluate.picture import draw_neighbours
from vidssl.evaluate.probe import omitted_ks
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.splits import Splits
from vidssl.types import VidsslError

KS = (1, 5, 10, 20, 50)
PUBLISHED_BATCH = 8  # of VCOP's code, which leaves out what fills none


def retrieval(
    query: Features, gallery: Features, ks: Sequence[int] = KS, *, leave_group_out: bool = False, chunk: int = 1024
) -> dict[int, torch.Tensor]:
    """k to bool [Q]: whether one of the k nearest by cosine has the query's class. leave_group_out: only videos of other groups
    are looked at.

    Raises VidsslError where a label is missing or k is larger than what can be found.
    """
    query_label, label = label_ids(query, gallery)
    limit = max_k(query, gallery, leave_group_out=leave_group_out)
    if not ks or min(ks) < 1 or max(ks) > limit:
        raise VidsslError(f"retrieval: ks={tuple(ks)}: take numbers in 1..{limit}, the number of videos to choose from")
    near = nearest(query, gallery, max(ks), leave_group_out=leave_group_out, chunk=chunk)
    right = label[near] == query_label[:, None]  # [Q, max k]
    return {k: right[:, :k].any(dim=1) for k in ks}


def chance(
    query: Features, gallery: Features, ks: Sequence[int] = KS, *, leave_group_out: bool = False
) -> dict[int, float]:
    """What `retrieval` gives on average for neighbours drawn at random: 1 - C(V - m, k) / C(V, k) for m of V videos of
    the class.
    """
    query_label, label = (part.tolist() for part in label_ids(query, gallery))
    own, group = (part.tolist() for part in name_ids(query.groups(), gallery.groups()))
    count, size = Counter(label), Counter(group)
    within = Counter(zip(label, group, strict=True))  # of a class, those of one group
    total = dict.fromkeys(ks, 0.0)
    for what, who in zip(query_label, own, strict=True):
        videos = len(label) - (size[who] if leave_group_out else 0)
        same = count[what] - (within[what, who] if leave_group_out else 0)
        for k in ks:
            total[k] += 1 - comb(videos - same, k) / comb(videos, k)
    return {k: value / len(query_label) for k, value in total.items()}


def drop_last_batch(features: Features) -> Features:
    """Without the last videos, which fill no batch of 8: of UCF101's 3,783 test videos seven, of its 9,537 training
    videos one.
    """
    return features.take(np.arange(len(features.label) // PUBLISHED_BATCH * PUBLISHED_BATCH))


def evaluate_retrieval(
    run: TrainedRun,
    data: Splits,
    *,
    view: View = DEFAULT_VIEW,
    ks: Sequence[int] = KS,
    drop_last: bool = False,
    pictures: int = 6,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Compare a run's encoder with the untrained one of the same seed.

    data: the test videos are looked up among the others. ks: those that cannot be found are left out. drop_last: leave
    out the videos that VCOP's code leaves out. pictures: queries of each verdict, right and wrong, that
    RUN/retrieval.png shows at most. out: JSON file, RUN/retrieval.json if None.
    """
    encoders = run.encoders()
    said = f"drop_last: as in VCOP's code, videos that fill no batch of {PUBLISHED_BATCH} are left out."
    notes: tuple[str, ...] = (said,) if drop_last else ()
    found, asked = run_features(run, data, encoders, view, device=device, progress=progress)
    notes += data.notes(len(asked[0].label), found[0].label)
    if drop_last:
        found, asked = [drop_last_batch(one) for one in found], [drop_last_batch(one) for one in asked]
    if not len(asked[0].label) or not len(found[0].label):
        raise VidsslError(
            f"retrieval: drop_last=True: fewer than {PUBLISHED_BATCH} videos, so none are left; leave it out"
        )
    few = [k for k in ks if k <= max_k(asked[0], found[0], leave_group_out=data.leave_group_out)]
    (group,) = name_ids(asked[0].groups())
    numbers: Numbers = {
        name: {
            f"R@{k}": proportion(right, group)
            for k, right in retrieval(query, gallery, few, leave_group_out=data.leave_group_out).items()
        }
        for name, query, gallery in zip(encoders, asked, found, strict=True)
    }
    numbers["chance"] = {
        f"R@{k}": Estimate(value)
        for k, value in chance(asked[0], found[0], few, leave_group_out=data.leave_group_out).items()
    }
    picture = run.folder / "retrieval.png"
    draw_neighbours(asked[0], found[0], data, picture, leave_group_out=data.leave_group_out, most=pictures)
    result = Result(
        kind="retrieval",
        protocol="nearest by cosine, hit where one of k has the class (Buechler et al. 2018; VCOP, Xu et al. 2019)",
        numbers=numbers,
        split=data.description,
        counts={
            "queries": len(asked[0].label),
            "gallery videos": len(found[0].label),
            "classes": len(set(found[0].label)),
        },
        settings={**asdict(view), "drop_last": drop_last, "features": found[0].feature.shape[1]},
        notes=notes + omitted_ks(ks, few),
    )
    result.publish(run, data, out=out, images={"neighbours": picture})
    return result
