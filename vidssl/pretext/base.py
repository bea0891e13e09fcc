"""The base class of pretext tasks: a task makes a table (`PlanSpec`) and a head from a few settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import VidsslError


class Objective(NamedTuple):
    """What a head tells apart. Training has one loss for it.

    Attributes:
        name: Name of the task; "" if it is the only one.
        class_names: The name of each class in logs.
        chance: Accuracy of a model that always predicts the most frequent class; None if it is not known.
        weight: Factor of its loss.
    """

    name: str
    class_names: Sequence[str]
    chance: float | None
    weight: float = 1.0

    def metric(self, name: str) -> str:
        """Return the name of a metric of this task: "loss", or "loss/TASK" where there are several."""
        return f"{name}/{self.name}" if self.name else name

    def titles(self) -> list[str]:
        """Return the names of the classes, each with the name of the task where there are several."""
        return [f"{self.name} {name}".strip() for name in self.class_names]


def chances(objectives: Sequence[Objective]) -> dict[str, float]:
    """Return the chance of each task that has a known one, by the metric beside which it is shown: "accuracy/TASK"."""
    return {one.metric("accuracy"): one.chance for one in objectives if one.chance is not None}


@dataclass(frozen=True, kw_only=True)
class Pretext(ABC):
    """A pretext task.

    A subclass declares its settings as fields and implements `table` and `head`. Training needs nothing else.

    Args:
        augment: How to resize, crop, flip, colour and normalise the frames.
    """

    name: ClassVar[str]
    plain_biases: ClassVar[tuple[str, ...]] = ()  # biases of the head that `TrainConfig.caffe_bias` treats like weights
    augment: Augment = field(default_factory=Augment)

    @abstractmethod
    def table(self) -> PlanSpec:
        """Make the table of the task. Called once, because `plan` keeps the result.

        Returns:
            The frames to show, their orders, and the label of each order.
        """

    @abstractmethod
    def head(self, features: int) -> nn.Module:
        """Make the head of the task.

        Args:
            features: Features D that the encoder gives for a slot.

        Returns:
            A module that maps the features [B, K, D] of the slots to logits [B, classes].
        """

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Convert clips into the input of the encoder. By default, only `Augment.level` is applied.

        A subclass that converts them further passes its clips through this method first.

        Args:
            clips: Normalised clips [N, 3, T, H, W], one for each slot.

        Returns:
            The encoder's input [N, C, T', H, W].
        """
        levelled: torch.Tensor = self.augment.level(clips)
        return levelled

    @cached_property
    def plan(self) -> PlanSpec:
        """The table of the task; `table` is called on first use."""
        return self.table()

    @property
    def input(self) -> tuple[int, int, int, int]:
        """Shape (C, T, H, W) of the encoder's input for one slot, after `encode`."""
        with torch.device("meta"):
            shape = self.encode(torch.empty(1, 3, self.plan.times, *self.augment.crop)).shape
        return int(shape[1]), int(shape[2]), int(shape[3]), int(shape[4])

    @property
    def class_names(self) -> list[str]:
        """The name of each class in logs."""
        return [str(number) for number in range(self.plan.classes)]

    @property
    def chance(self) -> float:
        """Accuracy, from 0 to 1, of a model that always predicts the most frequent label."""
        counts = np.bincount(self.plan.labels)
        return float(counts.max() / counts.sum())

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the task's head tells apart: one thing, or one for each of several tasks."""
        return (Objective("", self.class_names, self.chance),)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings, as they are written to a checkpoint."""
        return asdict(self)

    def _need(self, argument: str, good: bool, fix: str) -> None:
        """Raise VidsslError with the fix unless the setting is good."""
        if not good:
            raise VidsslError(f"{self.name}: {argument}={getattr(self, argument)!r}: {fix}")
