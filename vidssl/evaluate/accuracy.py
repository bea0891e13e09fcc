"""Accuracy of a model in its pretext task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.probe import constant_accuracy
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import TrainedRun, size_notes, trained_model, untrained_model
from vidssl.evaluate.seen import seen_by
from vidssl.evaluate.splits import test_data
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.pretext import PretextModel
from vidssl.store.frames import FrameStore
from vidssl.train.step import task_columns
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy in a pretext task.

    Attributes:
        accuracy: Fraction of the tuples that are predicted correctly.
        balanced: Mean over the classes of the accuracy in each; chance is 1 / classes.
        chance: What one answer to all tuples reaches: the fraction of the most common label, in the task's table or
            among these tuples.
        tuples: Number of tuples that were predicted.
        rejected: Fraction of the tuples that met the task's limits in none of the tries; they are left out.
    """

    accuracy: float
    balanced: float
    chance: float
    tuples: int
    rejected: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a model predicts for N tuples.

    Attributes:
        predicted: int64 [N], classes.
        label: int64 [N], the true classes.
        video: int64 [N], rows of the index.
        drawn: Number of tuples that were drawn; those that met the task's limits in no try are left out.
    """

    predicted: torch.Tensor
    label: torch.Tensor
    video: torch.Tensor
    drawn: int

    @property
    def right(self) -> torch.Tensor:
        """bool [N]: whether each prediction is right."""
        return self.predicted == self.label

    @property
    def balanced(self) -> float:
        """Mean over the classes of the accuracy in each."""
        right = self.right.float()
        return float(np.mean([float(right[self.label == each].mean()) for each in set(self.label.tolist())]))


@torch.no_grad()
def predict_tuples(
    model: PretextModel,
    index: VideoIndex,
    *,
    tuples: int = 4,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    store: FrameStore | None = None,
) -> list[Answers]:
    """Predicts tuples of the middle window of every usable video, in each task of the model.

    The arguments are those of `pretext_accuracy`.
    """
    model.to(device).eval()
    parts = []
    loading: dict[str, Any] = {
        "batch_size": 8 * tuples,
        "tuples_per_window": tuples,
        "device": device,
        "workers": workers,
        "store": store,
    }
    with Loader(index, model.pretext, train=False, **loading) as loader:
        for batch in loader:
            each = (
                model.predict(model(batch.clips)),
                task_columns(batch.label),
                task_columns(batch.status) == 0,
                batch.video,
            )
            parts.append([part.cpu() for part in each])
    predicted, label, kept, video = (torch.cat(part) for part in zip(*parts, strict=True))
    return [
        Answers(predicted=predicted[good, at], label=label[good, at], video=video[good], drawn=len(good))
        for at, good in enumerate(kept.unbind(1))
    ]


def pretext_accuracy(
    model: PretextModel,
    index: VideoIndex,
    *,
    tuples: int = 4,
    device: torch.device | str = "cpu",
    workers: int | None = None,
    store: FrameStore | None = None,
) -> Accuracy:
    """Measures the accuracy of a model on the middle window of every usable video.

    The tuples are the same in every call and are not augmented.

    Args:
        model: The model, with its pretext task.
        index: The videos, which the model should not have been trained on.
        tuples: Tuples per window.
        device: Where the model computes.
        workers: Worker threads of the loader; None takes the loader's default.
        store: Shows the videos, as in Loader. For a run, take `TrainedRun.store`: the size at which it saw them.

    Returns:
        The accuracy.

    Raises:
        VidsslError: No video is usable, a video cannot be read, or the model has several tasks (see `predict_tuples`).
    """
    chance = model.pretext.chance  # several tasks have no single one
    (found,) = predict_tuples(model, index, tuples=tuples, device=device, workers=workers, store=store)
    return Accuracy(
        accuracy=float(found.right.float().mean()),
        balanced=found.balanced,
        chance=constant_accuracy(chance, found.label),
        tuples=len(found.label),
        rejected=1 - len(found.label) / found.drawn,
    )


def _groups(index: VideoIndex, answers: Answers) -> torch.Tensor:
    """int64 [N]: the group of each answer's video, or the video, by number."""
    paths, names = (index.column(column).to_pylist() for column in ("path", "group"))
    (group,) = name_ids([names[row] or paths[row] for row in answers.video.tolist()])
    return group


def evaluate_pretext(
    run: TrainedRun,
    test: VideoIndex,
    *,
    tuples: int = 4,
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
    split: str | None = None,
) -> Result:
    """Measures the accuracy of a run in its own pretext task on given videos, and that of the untrained model.

    The tuples are those of `pretext_accuracy`. They need no labels.

    Args:
        run: The run.
        test: The videos.
        tuples: Tuples per video.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: Worker threads of the loader; None takes the loader's default.
        out: JSON file of the result; None writes RUN/pretext.json.
        split: How the videos were chosen, such as `Splits.description`; None says that they were given, and what is
            known of whether the run saw them.

    Returns:
        The result. Its intervals treat the tuples of a group as dependent, and those of a video without a group.
        Chance is what one answer to all tuples reaches: the fraction of the most common label, in the task's table or
        among these tuples.

    Raises:
        VidsslError: No video is long enough, or one cannot be read; no tuple meets the task's limits; `out` cannot be
            written.
    """
    picked, spec, tasks = pick_device(device), run.recipe.pretext.plan, run.recipe.pretext.objectives
    numbers: Numbers = {}
    trained, _ = trained_model(run.path, trust_code=True, weights=run.weights)  # the run was loaded with it
    for name, model in {"trained": trained, "untrained": untrained_model(run.recipe)}.items():
        found = predict_tuples(model, test, tuples=tuples, device=picked, workers=workers, store=run.store)
        numbers[name] = {}
        for task, answers in zip(tasks, found, strict=True):
            if not len(answers.label):
                raise VidsslError(
                    f"evaluate: none of the {answers.drawn} tuples meets the limits of "
                    f"{task.name or run.recipe.pretext.name}"
                )
            right = proportion(answers.right, _groups(test, answers))
            numbers[name] |= {task.metric("accuracy"): right, task.metric("balanced"): Estimate(answers.balanced)}
    numbers["chance"] = {}
    for task, answers in zip(tasks, found, strict=True):
        balanced = Estimate(1 / len(task.class_names))
        constant = Estimate(constant_accuracy(task.chance or 0.0, answers.label))
        numbers["chance"] |= {task.metric("accuracy"): constant, task.metric("balanced"): balanced}
    videos = len(set(torch.cat([answers.video for answers in found]).tolist()))
    drawn, predicted = (sum(part) for part in zip(*((one.drawn, len(one.label)) for one in found), strict=True))
    seen = seen_by(run, test)
    result = Result(
        kind="pretext",
        protocol=f"{run.recipe.pretext.name}: {tuples} tuple(s) of the middle window of each video, centre crop",
        numbers=numbers,
        split=split or "tested on the videos as given",
        counts={"tuples": predicted, "videos": videos, "classes": sum(len(task.class_names) for task in tasks)},
        weights=run.weights,
        settings={"tuples": tuples},
        notes=(
            f"{drawn - predicted} of {drawn} tuples are left out, as no try at them met the task's limits. "
            f"{len(test) - len(test.usable(spec.frames))} of {len(test)} videos cannot be read or are too short.",
            seen.note(len(test)),
            "Chance: what one answer to all of these tuples reaches at most. Few tuples may have one label more often.",
            "Balanced: the mean over the classes of the accuracy in each, without an interval.",
            *size_notes(run.recipe),
        ),
    )
    result.publish(run, {"train": run.meta["data"], **test_data(test, seen)}, out=out)
    return result
