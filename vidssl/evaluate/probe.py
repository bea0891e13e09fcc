"""A linear probe and a k-NN classifier on frozen features: does the encoder separate classes without their labels?

The linear probe is logistic regression on features that are standardised on the training videos. Its L2 penalty is
chosen on a quarter of the training videos (whole groups where there are groups), never on the test videos.
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

from vidssl.evaluate.cache import run_features
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import label_ids, max_k, nearest
from vidssl.evaluate.logistic import choose_penalty, compact, fit_logistic, predict_logits, standardise
from vidssl.evaluate.low_level import Baselines
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, View
from vidssl.evaluate.scaling import Scaling, scaling_notes
from vidssl.evaluate.splits import Splits, group_folds
from vidssl.progress import progress_bar
from vidssl.types import VidsslError

PROTOCOL = (
    "logistic regression on standardised frozen features, its L2 penalty chosen on a quarter of the training videos; "
    "k-NN by cosine"
)


class Predictions(NamedTuple):
    """What a model predicts for Q test videos.

    Args:
        predicted: int64 [Q], indices into classes.
        label: int64 [Q], the true classes, likewise.
        classes: Names of the classes, sorted.
    """

    predicted: torch.Tensor
    label: torch.Tensor
    classes: list[str]

    @property
    def correct(self) -> torch.Tensor:
        """bool [Q]: whether each prediction is right."""
        return self.predicted == self.label

    def table(self) -> dict[str, list[Any]]:
        """The confusion matrix: the number of videos of each true class (row) and predicted class (column)."""
        count = len(self.classes)
        counts = torch.bincount(self.label * count + self.predicted, minlength=count * count).view(count, count)
        return {"classes": self.classes, "table": counts.tolist()}


def linear_probe(
    train: Features, test: Features, *, leave_group_out: bool = False, progress: bool = False
) -> Predictions:
    """Predictions for the test videos by logistic regression on the training videos.

    Args:
        train: Features of the training videos.
        test: Features of the test videos.
        leave_group_out: The test videos are the training videos; a model of the other groups predicts each group.
        progress: Show a progress bar.

    Raises:
        VidsslError: Labels are missing, or there are fewer than two classes.
    """
    label, wanted, classes = _coded(train, test)
    turns = group_folds(train.groups()) if leave_group_out else [(np.arange(len(label)), np.arange(len(wanted)))]
    (group,) = name_ids(train.groups())
    answer = torch.empty(len(wanted), dtype=torch.int64)
    for others, own in progress_bar(
        turns, desc="linear probe", unit="fit", leave=False, show=progress and len(turns) > 1
    ):
        learnt, tested = torch.from_numpy(others), torch.from_numpy(own)
        x, shown_ = compact(*standardise(train.feature[learnt].float(), test.feature[tested].float()))
        # precise enough to compare penalties
        penalty, begin = choose_penalty(x, label[learnt], group[learnt], len(classes), tolerance=1e-3)
        answer[tested] = predict_logits(
            fit_logistic(x, label[learnt], len(classes), penalty, begin, tolerance=1e-4), shown_
        ).argmax(1)
    return Predictions(answer, wanted, classes)


def knn_probe(
    train: Features,
    test: Features,
    k: int,
    *,
    leave_group_out: bool = False,
    scaling: Scaling = "none",
    chunk: int = 1024,
) -> Predictions:
    """Predictions for the test videos by vote of their k nearest training videos (cosine). Nearer videos win a tie.

    Args:
        train: Features of the training videos.
        test: Features of the test videos.
        k: Number of neighbours.
        leave_group_out: The test videos are the training videos; only other groups vote.
        scaling: How features are rescaled beforehand, see vidssl.evaluate.knn.nearest.
        chunk: Test videos compared at once.

    Raises:
        VidsslError: Labels are missing, there are fewer than two classes, or k is too large.
    """
    label, wanted, classes = _coded(train, test)
    limit = max_k(test, train, leave_group_out=leave_group_out)
    if not 1 <= k <= limit:
        raise VidsslError(f"probe: k={k}: take 1..{limit}, the number of videos to choose from")
    near = label[nearest(test, train, k, leave_group_out=leave_group_out, scaling=scaling, chunk=chunk)]  # [Q, k]
    closer = 1 + 1e-6 * torch.linspace(1, 0, k, dtype=torch.float64)  # breaks ties, never outweighs a vote
    rows = max(1, 2**24 // (k * len(classes)))  # so that the votes of one part stay below 128 MiB
    parts = (near[start : start + rows] for start in range(0, len(near), rows))
    votes = [(functional.one_hot(part, len(classes)) * closer[:, None]).sum(1).argmax(1) for part in parts]
    return Predictions(torch.cat(votes), wanted, classes)


def _coded(train: Features, test: Features) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Labels of both, and the classes. Test videos of a class without training videos always count as wrong."""
    label, wanted = label_ids(train, test)
    if len(set(train.label)) < 2:
        raise VidsslError(f"probe: the training videos have {len(set(train.label))} class(es); give two or more")
    return label, wanted, sorted({str(name) for name in (*train.label, *test.label)})


def omitted_ks(ks: Sequence[int], few: Sequence[int]) -> tuple[str, ...]:
    """A note that names the ks that exceed the number of videos, if any."""
    many = [str(k) for k in ks if k not in few]
    return (f"k = {', '.join(many)} left out: there are fewer videos.",) if many else ()


LARGEST_CLASS = "Chance: always predicting the most common class of the test videos (the share of the largest class)."


def majority_fraction(labels: Sequence[str | int | None]) -> float:
    """Fraction of the most common class: the accuracy of always predicting it."""
    return max(Counter(labels).values()) / len(labels)


def constant_accuracy(chance: float, labels: torch.Tensor) -> float:
    """What one answer to tuples with these labels reaches at most.

    chance: The same for the task's table. Few tuples may have one label more often.
    """
    return max(chance, majority_fraction(labels.tolist()))


def evaluate_probe(
    run: TrainedRun,
    data: Splits,
    *,
    view: View = DEFAULT_VIEW,
    ks: Sequence[int] = (1, 5),
    scaling: Scaling = "none",
    device: str = "auto",
    out: Path | None = None,
    progress: bool = True,
) -> Result:
    """Probes a run's encoder and, for comparison, the untrained one of the same seed and low-level features.

    Features are cached in the run.

    Args:
        run: The run.
        data: The training and test videos.
        view: How videos are shown to the encoders.
        ks: Numbers of neighbours that vote. Those larger than the number of videos are left out.
        scaling: How features are rescaled before k-NN; the linear probe always standardises them.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file of the result; None writes RUN/probe.json.
        progress: Show progress bars.
    """
    run = run.writing_to(out)
    encoders = run.encoders()
    train, test = run_features(run, data, encoders, view, device=device, progress=progress)
    few = [k for k in ks if k <= max_k(test[0], train[0], leave_group_out=data.leave_group_out)]
    (group,) = name_ids(test[0].groups())
    numbers: Numbers = {}
    confusion = {}
    low_level = Baselines(run, data, train[0], test[0], progress=progress)
    pairs = {**dict(zip(encoders, zip(train, test, strict=True), strict=True)), **low_level.pairs}
    for name, (a, b) in pairs.items():
        linear = linear_probe(a, b, leave_group_out=data.leave_group_out, progress=progress)
        near = {f"{k}-NN": knn_probe(a, b, k, leave_group_out=data.leave_group_out, scaling=scaling) for k in few}
        numbers[name] = {way: proportion(found.correct, group) for way, found in {"linear": linear, **near}.items()}
        confusion[name] = linear.table()
    numbers["chance"] = {way: Estimate(majority_fraction(test[0].label)) for way in numbers["trained"]}
    result = Result(
        kind=data.named("probe"),
        protocol=PROTOCOL,
        numbers=numbers,
        split=data.description,
        counts={
            "training videos": len(train[0].label),
            "test videos": len(test[0].label),
            "classes": len(set(train[0].label)),
        },
        weights=run.weights,
        settings={**asdict(view), "scaling": scaling, "ks": list(few), "features": train[0].feature.shape[1]},
        notes=(
            LARGEST_CLASS,
            *data.notes(len(test[0].label), train[0].label),
            *data.folds_note(test[0].groups()),
            *omitted_ks(ks, few),
            *low_level.notes(numbers),
            *view.notes(run.recipe),
            *scaling_notes(scaling),
        ),
        detail={"confusion": confusion},
    )
    result.publish(run, data.data(), out=out)
    return result
