"""How well a model solves its pretext task on videos it was not trained on."""

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
    """accuracy: share of tuples answered right; balanced: the mean of that over the classes, whose chance is 1 /
    classes.

    chance: share of the commonest label in the task's table. rejected: share of tuples that no try brought within the
    task's limits.
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
    """`tuples` tuples of the middle window of every usable video: always the same ones, not augmented."""
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
