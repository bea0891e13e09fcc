"""What a linear model, and the nearest neighbours, read off frozen features: do classes lie apart that nobody named in
training?

The linear model is logistic regression on features that were standardised on the training videos; how strongly it is
held back is chosen on a quarter of these (whole groups where there are some), never on the test videos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from vidssl.evaluate.cache import run_features
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import label_ids, max_k, nearest
from vidssl.evaluate.logistic import choose_penalty, fit_logistic, predict_logits, standardise
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.splits import Splits, group_folds
from vidssl.types import VidsslError

PROTOCOL = "logistic regression on standardised frozen features, its penalty chosen on a quarter of the known videos; k-NN by cosine"


class Predictions(NamedTuple):
    """predicted, label: int64 [Q], as numbers of the classes, whose names are sorted."""

    predicted: torch.Tensor
    label: torch.Tensor
    classes: list[str]

    @property
    def correct(self) -> torch.Tensor:
        """bool [Q]."""
        return self.predicted == self.label

    def table(self) -> dict[str, list[Any]]:
        """The confusion matrix: how many videos of each class (row) were taken for each (column), and the classes."""
        count = len(self.classes)
        taken_for = torch.bincount(self.label * count + self.predicted, minlength=count * count).view(count, count)
        return {"classes": self.classes, "table": taken_for.tolist()}


def linear_probe(
    known: Features, asked: Features, *, leave_group_out: bool = False, progress: bool = False
) -> Predictions:
    """What logistic regression on the known videos says of those asked. leave_group_out: asked is known; each group by a model of
    the others.

    Raises VidsslError where labels are missing, or there are fewer than two classes.
    """
    label, wanted, classes = _coded(known, asked)
    turns = group_folds(known.groups()) if leave_group_out else [(np.arange(len(label)), np.arange(len(wanted)))]
    (group,) = name_ids(known.groups())
    answer = torch.empty(len(wanted), dtype=torch.int64)
    for others, own in tqdm(
        turns, desc="linear probe", unit="fit", leave=False, disable=None if progress and len(turns) > 1 else True
    ):
        learnt, tested = torch.from_numpy(others), torch.from_numpy(own)
        x, shown_ = standardise(known.feature[learnt].float(), asked.feature[tested].float())
        # near enough to tell strengths apart
        penalty, begin = choose_penalty(x, label[learnt], group[learnt], len(classes), tolerance=1e-3)
        answer[tested] = predict_logits(
            fit_logistic(x, label[learnt], len(classes), penalty, begin, tolerance=1e-4), shown_
        ).argmax(1)
    return Predictions(answer, wanted, classes)


def knn_probe(
    known: Features, asked: Features, k: int, *, leave_group_out: bool = False, chunk: int = 1024
) -> Predictions:
    """What the k nearest known videos (cosine) say of those asked, by vote; a tie goes to the nearer. leave_group_out: as for
    linear_probe.
    """
    label, wanted, classes = _coded(known, asked)
    limit = max_k(asked, known, leave_group_out=leave_group_out)
    if not 1 <= k <= limit:
        raise VidsslError(f"probe: k={k}: take 1..{limit}, as many videos are there to learn from")
    near = label[nearest(asked, known, k, leave_group_out=leave_group_out, chunk=chunk)]  # [Q, k]
    closer = 1 + 1e-6 * torch.linspace(1, 0, k, dtype=torch.float64)  # settles ties, outweighs no vote
    rows = max(1, 2**24 // (k * len(classes)))  # so that the votes of one part stay below 128 MiB
    parts = (near[start : start + rows] for start in range(0, len(near), rows))
    votes = [(functional.one_hot(part, len(classes)) * closer[:, None]).sum(1).argmax(1) for part in parts]
    return Predictions(torch.cat(votes), wanted, classes)


def _coded(known: Features, asked: Features) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Labels of both, and the classes. A class that is asked for but not known counts as wrong, whatever is answered."""
    label, wanted = label_ids(known, asked)
    if len(set(known.label)) < 2:
        raise VidsslError(f"probe: the videos to learn from have {len(set(known.label))} class(es); take two or more")
    return label, wanted, sorted({str(name) for name in (*known.label, *asked.label)})


def omitted_ks(ks: Sequence[int], few: Sequence[int]) -> tuple[str, ...]:
    """What to say of numbers of neighbours that cannot be found."""
    many = [str(k) for k in ks if k not in few]
    return (f"k = {', '.join(many)} left out: so many videos cannot be found.",) if many else ()


def majority_fraction(asked: Features) -> float:
    """Share of the commonest class: what always giving it would get right."""
    return max(Counter(asked.label).values()) / len(asked.label)


def evaluate_probe(
    run: TrainedRun,
    data: Splits,
    *,
    view: View = DEFAULT_VIEW,
    ks: Sequence[int] = (1, 5),
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """A run's encoder beside the untrained one of the same seed.

    data: videos to learn from and to test on. ks: of the nearest neighbours; those that cannot be found are left out.
    Features are kept in RUN/features. out: JSON file, RUN/probe.json if None.
    """
    encoders = run.encoders()
    known, asked = run_features(run, data, encoders, view, device=device, progress=progress)
    few = [k for k in ks if k <= max_k(asked[0], known[0], leave_group_out=data.leave_group_out)]
    (group,) = name_ids(asked[0].groups())
    numbers: Numbers = {}
    confusion = {}
    for name, a, b in zip(encoders, known, asked, strict=True):
        linear = linear_probe(a, b, leave_group_out=data.leave_group_out, progress=progress)
        near = {f"{k}-NN": knn_probe(a, b, k, leave_group_out=data.leave_group_out) for k in few}
        numbers[name] = {way: proportion(found.correct, group) for way, found in {"linear": linear, **near}.items()}
        confusion[name] = linear.table()
    numbers["chance"] = {way: Estimate(majority_fraction(asked[0])) for way in numbers["trained"]}
    result = Result(
        kind="probe",
        protocol=PROTOCOL,
        numbers=numbers,
        split=data.description,
        counts={
            "videos to learn from": len(known[0].label),
            "to test": len(asked[0].label),
            "classes": len(set(known[0].label)),
        },
        settings={**asdict(view), "ks": list(few), "features": known[0].feature.shape[1]},
        notes=(
            "Chance: always the commonest class of the test videos.",
            *data.notes(len(asked[0].label), known[0].label),
            *omitted_ks(ks, few),
        ),
        detail={"confusion": confusion},
    )
    result.publish(run, data, out=out)
    return result
