"""Retrieval: is one of the k nearest videos of the same class? Nothing is trained, so it measures the feature itself.

Source: the protocol of Buechler et al., ECCV 2018, as VCOP (Xu et al., CVPR 2019) uses it: cosine distance, queries
from the test videos, neighbours from the training videos, a hit if any of the k neighbours has the query's class.
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
from vidssl.evaluate.low_level import Baselines
from vidssl.evaluate.picture import draw_neighbours
from vidssl.evaluate.probe import omitted_ks
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.scaling import Scaling, scaling_notes
from vidssl.evaluate.splits import Splits
from vidssl.types import VidsslError

KS = (1, 5, 10, 20, 50)
PUBLISHED_BATCH = 8  # batch size of VCOP's code, which drops the last batch if it is not full


def retrieval(
    query: Features,
    gallery: Features,
    ks: Sequence[int] = KS,
    *,
    leave_group_out: bool = False,
    scaling: Scaling = "none",
    chunk: int = 1024,
) -> dict[int, torch.Tensor]:
    """Finds for each query and each k whether one of the k nearest videos by cosine has the query's class.

    Args:
        query: Features of Q videos.
        gallery: Features of the videos to find.
        ks: Numbers of neighbours.
        leave_group_out: Consider only videos of other groups than the query's.
        scaling: How features are rescaled beforehand, see vidssl.evaluate.knn.nearest.
        chunk: Queries that are compared at a time.

    Returns:
        k to bool [Q], true for a hit.

    Raises:
        VidsslError: A label is missing, the gallery has fewer than two classes, or a k is larger than the number of
            videos to choose from.
    """
    query_label, label = label_ids(query, gallery)
    if len(set(gallery.label)) < 2:
        raise VidsslError(f"retrieval: the videos to find have {len(set(gallery.label))} class(es); give two or more")
    limit = max_k(query, gallery, leave_group_out=leave_group_out)
    if not ks or min(ks) < 1 or max(ks) > limit:
        raise VidsslError(f"retrieval: ks={tuple(ks)}: take numbers in 1..{limit}, the number of videos to choose from")
    near = nearest(query, gallery, max(ks), leave_group_out=leave_group_out, scaling=scaling, chunk=chunk)
    right = label[near] == query_label[:, None]  # [Q, max k]
    return {k: right[:, :k].any(dim=1) for k in ks}


def chance(
    query: Features, gallery: Features, ks: Sequence[int] = KS, *, leave_group_out: bool = False
) -> dict[int, float]:
    """k to the mean result of `retrieval` if the neighbours are drawn at random.

    For a class that m of V videos have it is 1 - C(V - m, k) / C(V, k). The arguments are those of `retrieval`.
    """
    query_label, label = (part.tolist() for part in label_ids(query, gallery))
    own, group = (part.tolist() for part in name_ids(query.groups(), gallery.groups()))
    count, size = Counter(label), Counter(group)
    within = Counter(zip(label, group, strict=True))  # videos of one class and one group
    total = dict.fromkeys(ks, 0.0)
    for what, who in zip(query_label, own, strict=True):
        videos = len(label) - (size[who] if leave_group_out else 0)
        same = count[what] - (within[what, who] if leave_group_out else 0)
        for k in ks:
            total[k] += 1 - comb(videos - same, k) / comb(videos, k)
    return {k: value / len(query_label) for k, value in total.items()}


def drop_last_batch(features: Features) -> Features:
    """Drops the last videos if they do not fill a batch of 8, as VCOP's code does.

    On UCF101 that drops seven of 3,783 test videos and one of 9,537 training videos.
    """
    return features.take(np.arange(len(features.label) // PUBLISHED_BATCH * PUBLISHED_BATCH))


def evaluate_retrieval(
    run: TrainedRun,
    data: Splits,
    *,
    view: View = DEFAULT_VIEW,
    ks: Sequence[int] = KS,
    scaling: Scaling = "none",
    drop_last: bool = False,
    pictures: int = 6,
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Evaluates retrieval with a run's encoder and, for comparison, the untrained one of the same seed and low-level
    features.

    Args:
        run: The run.
        data: The test videos are the queries, the training videos are the gallery.
        view: How the videos are shown to the encoders.
        ks: Numbers of neighbours; a k larger than the number of videos to choose from is left out.
        scaling: How features are rescaled beforehand, by statistics of the gallery.
        drop_last: Drop the videos that VCOP's code drops.
        pictures: Largest number of correct queries, and of wrong ones, in RUN/retrieval.png; none is drawn if
            `out` is given.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file; None writes RUN/retrieval.json.
        progress: Show progress bars.

    Returns:
        The result, which is also published: in `out`, or else in the run's folder.

    Raises:
        VidsslError: A label is missing; no video is long enough or one cannot be read; drop_last leaves no videos;
            `out` cannot be written.
    """
    run = run.writing_to(out)
    encoders = run.encoders()
    dropped = f"drop_last: as in VCOP's code, videos that fill no batch of {PUBLISHED_BATCH} are left out."
    notes: tuple[str, ...] = (dropped,) if drop_last else ()
    galleries, queries = run_features(run, data, encoders, view, device=device, progress=progress)
    notes += data.notes(len(queries[0].label), galleries[0].label)
    if drop_last:
        galleries, queries = [drop_last_batch(one) for one in galleries], [drop_last_batch(one) for one in queries]
    if not len(queries[0].label) or not len(galleries[0].label):
        raise VidsslError(
            f"retrieval: drop_last=True: fewer than {PUBLISHED_BATCH} videos, so none are left; leave it out"
        )
    few = [k for k in ks if k <= max_k(queries[0], galleries[0], leave_group_out=data.leave_group_out)]
    (group,) = name_ids(queries[0].groups())
    low_level = Baselines(run, data, galleries[0], queries[0], progress=progress)
    pairs = {**dict(zip(encoders, zip(galleries, queries, strict=True), strict=True)), **low_level.pairs}
    numbers: Numbers = {
        name: {
            f"R@{k}": proportion(right, group)
            for k, right in retrieval(
                query, gallery, few, leave_group_out=data.leave_group_out, scaling=scaling
            ).items()
        }
        for name, (gallery, query) in pairs.items()
    }
    numbers["chance"] = {
        f"R@{k}": Estimate(value)
        for k, value in chance(queries[0], galleries[0], few, leave_group_out=data.leave_group_out).items()
    }
    picture = run.folder / f"{data.named('retrieval')}.png"
    if out is None:
        draw_neighbours(queries[0], galleries[0], data, picture, scaling=scaling, most=pictures)
    result = Result(
        kind=data.named("retrieval"),
        protocol="nearest by cosine, hit where one of k has the class (Buechler et al. 2018; VCOP, Xu et al. 2019)",
        numbers=numbers,
        split=data.description,
        counts={
            "queries": len(queries[0].label),
            "gallery videos": len(galleries[0].label),
            "classes": len(set(galleries[0].label)),
        },
        weights=run.weights,
        settings={
            **asdict(view),
            "scaling": scaling,
            "drop_last": drop_last,
            "features": galleries[0].feature.shape[1],
        },
        notes=(
            *notes,
            *omitted_ks(ks, few),
            *low_level.notes(numbers),
            *view.notes(run.recipe),
            *scaling_notes(scaling),
        ),
    )
    result.publish(run, data.data(), out=out, images={"neighbours": picture} if out is None else {})
    return result
