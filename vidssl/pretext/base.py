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

from vidssl.checks import is_whole
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import MAX_PLACES, MAX_SHOWN, MAX_TABLE, PlanSpec
from vidssl.settings import Settings
from vidssl.types import VidsslError

MOST_HIDDEN = 2**16  # outputs of a hidden layer of a head


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


def most_times(rows: int, slots: int) -> int:
    """Return the most frames that a slot may show, so that the table [rows, slots, frames] is not too large."""
    return min(MAX_SHOWN // slots, MAX_TABLE // (rows * slots))


@dataclass(frozen=True, kw_only=True)
class Pretext(Settings, ABC):
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

    def _owner(self) -> str:
        return str(getattr(self, "name", type(self).__name__))  # tasks that are joined get their name last

    def _need(self, argument: str, good: bool, fix: str) -> None:
        """Raise VidsslError with the fix unless the setting is good."""
        if not good:
            raise VidsslError(f"{self.name}: {argument}={getattr(self, argument)!r}: {fix}")

    def _need_whole(self, most: int = MAX_PLACES, **least: int) -> None:
        """Raise VidsslError unless each setting is a whole number, from its `least` to `most`.

        Without `most`, it is what a plan can hold. Numbers are checked before a table is made of them, because numpy
        would allocate the table first.
        """
        for argument, smallest in least.items():
            good = is_whole(getattr(self, argument), smallest, most)
            self._need(argument, good, f"take at least {smallest}, and at most {most}")

    def _need_numbers(self, argument: str) -> None:
        """Raise VidsslError unless each number of a setting is one that a plan can hold."""
        good = all(is_whole(number, 1, MAX_PLACES) for number in getattr(self, argument))
        self._need(argument, good, f"take whole numbers from 1 to {MAX_PLACES}")

    def _need_span(self, frames: int, *arguments: str) -> None:
        """Raise VidsslError, which names these settings, if the window has more frames than a plan takes."""
        if frames > MAX_PLACES:
            settings = ", ".join(f"{argument}={getattr(self, argument)!r}" for argument in arguments)
            raise VidsslError(f"{self.name}: {settings}: the window has {frames} frames; take at most {MAX_PLACES}")
