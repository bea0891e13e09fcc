"""Accuracy of a model in its pretext task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidssl.device import pick_device
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.result import Numbers, Result
from vidssl.evaluate.run import TrainedRun, size_notes, trained_model, untrained_model
from vidssl.index.holdout import fingerprint
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.pretext import PretextModel
from vidssl.store.frames import FrameStore
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy in a pretext task.

    Attributes:
        accuracy: Fraction of the tuples that are predicted correctly.
        balanced: Mean over the classes of the accuracy in each; chance is 1 / classes.
        chance: Fraction of the most common label in the task's table.
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
) -> Answers:
    """Predicts tuples of the middle window of every usable video. The arguments are those of `pretext_accuracy`."""
    model.to(device).eval()
    parts, drawn = [], 0
    loading: dict[str, Any] = {
        "batch_size": 8 * tuples,
        "tuples_per_window": tuples,
        "device": device,
        "workers": workers,
        "store": store,
    }
    with Loader(index, model.pretext, train=False, **loading) as loader:
        for batch in loader:
            kept = batch.status == 0
            drawn += len(kept)
            parts.append(
                (model(batch.clips).argmax(1)[kept].cpu(), batch.label[kept].cpu(), batch.video[kept.cpu()].cpu())
            )
    predicted, label, video = (torch.cat(part) for part in zip(*parts, strict=True))
    return Answers(predicted=predicted, label=label, video=video, drawn=drawn)


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
        VidsslError: No video is usable, or a video cannot be read.
    """
    found = predict_tuples(model, index, tuples=tuples, device=device, workers=workers, store=store)
    return Accuracy(
        accuracy=float(found.right.float().mean()),
        balanced=found.balanced,
        chance=model.pretext.chance,
        tuples=len(found.label),
        rejected=1 - len(found.label) / found.drawn,
    )


def evaluate_pretext(
    run: TrainedRun,
    test: VideoIndex,
    *,
    tuples: int = 4,
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
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

    Returns:
        The result. Its intervals treat the tuples of a group as dependent, and those of a video without a group.

    Raises:
        VidsslError: No video is long enough, or one cannot be read; no tuple meets the task's limits; `out` cannot be
            written.
    """
    picked, spec = pick_device(device), run.recipe.pretext.plan
    chance = {"accuracy": Estimate(run.recipe.pretext.chance), "balanced": Estimate(1 / spec.classes)}
    numbers: Numbers = {}
    for name, model in {"trained": trained_model(run.path)[0], "untrained": untrained_model(run.recipe)}.items():
        found = predict_tuples(model, test, tuples=tuples, device=picked, workers=workers, store=run.store)
        if not len(found.label):
            raise VidsslError(
                f"evaluate: none of the {found.drawn} tuples meets the limits of {run.recipe.pretext.name}"
            )
        paths, names = (test.column(column).to_pylist() for column in ("path", "group"))
        (group,) = name_ids([names[row] or paths[row] for row in found.video.tolist()])
        numbers[name] = {"accuracy": proportion(found.right, group), "balanced": Estimate(found.balanced)}
    numbers["chance"] = chance
    videos = len(set(found.video.tolist()))
    result = Result(
        kind="pretext",
        protocol=f"{run.recipe.pretext.name}: {tuples} tuple(s) of the middle window of each video, centre crop",
        numbers=numbers,
        split="tested on the videos as given",
        counts={"tuples": len(found.label), "videos": videos, "classes": spec.classes},
        settings={"tuples": tuples},
        notes=(
            f"{found.drawn - len(found.label)} of {found.drawn} tuples met the task's limits in no try; they are left "
            "out. "
            f"{len(test) - len(test.usable(spec.frames))} of {len(test)} videos cannot be read or are too short.",
            "Balanced: the mean over the classes of the accuracy in each.",
            *size_notes(run.recipe, run.recipe.pretext.augment.resize),
        ),
    )
    place = {
        "train": run.meta["data"],
        "test": fingerprint(test),
        "test_root": test.root.name,
        "test_videos": len(test),
    }
    result.publish(run, place, out=out)
    return result
