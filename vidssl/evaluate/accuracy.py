"""Accuracy of a model in its pretext task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.pretext import PretextModel


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


@torch.no_grad()
def pretext_accuracy(
    model: PretextModel,
    index: VideoIndex,
    *,
    tuples: int = 4,
    device: torch.device | str = "cpu",
    workers: int | None = None,
) -> Accuracy:
    """Measures the accuracy of a model on the middle window of every usable video.

    The tuples are the same in every call and are not augmented.

    Args:
        model: The model, with its pretext task.
        index: The videos, which the model should not have been trained on.
        tuples: Tuples per window.
        device: Where the model computes.
        workers: Worker threads of the loader; None takes the loader's default.

    Returns:
        The accuracy.

    Raises:
        VidsslError: No video is usable, or a video cannot be read.
    """
    model.to(device).eval()
    answers, labels, count = [], [], 0
    loading: dict[str, Any] = {
        "batch_size": 8 * tuples,
        "tuples_per_window": tuples,
        "device": device,
        "workers": workers,
    }
    with Loader(index, model.pretext, train=False, **loading) as loader:
        for batch in loader:
            kept = batch.status == 0
            count += len(kept)
            answers.append(model(batch.clips).argmax(1)[kept].cpu())
            labels.append(batch.label[kept].cpu())
    answer, label = torch.cat(answers), torch.cat(labels)
    right = (answer == label).float()
    return Accuracy(
        accuracy=float(right.mean()),
        balanced=float(np.mean([float(right[label == each].mean()) for each in set(label.tolist())])),
        chance=model.pretext.chance,
        tuples=len(right),
        rejected=1 - len(right) / count,
    )
