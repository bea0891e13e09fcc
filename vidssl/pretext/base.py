"""What a pretext task is: a table (`PlanSpec`) and a head, made from a few settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class Pretext(ABC):
    """A pretext task. A subclass declares its settings as fields, its table and its head; nothing else is needed to
    train it.

    Args:
        augment: How frames are cut and coloured.
    """

    name: ClassVar[str]
    augment: Augment = field(default_factory=Augment)

    @abstractmethod
    def table(self) -> PlanSpec:
        """Which frames are shown in which order, and the label. Called once: `plan` keeps it."""

    @abstractmethod
    def head(self, features: int) -> nn.Module:
        """A module from the features [B, K, D = features] of the slots to logits [B, classes]."""

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Slots [N, 3, T, H, W] as the encoder is to see them: as they are, unless a task says otherwise."""
        return clips

    @cached_property
    def plan(self) -> PlanSpec:
        return self.table()

    @property
    def input(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of what `encode` gives for a slot."""
        with torch.device("meta"):
            shape = self.encode(torch.empty(1, 3, self.plan.times, *self.augment.crop)).shape
        return int(shape[1]), int(shape[2]), int(shape[3]), int(shape[4])

    @property
    def class_names(self) -> list[str]:
        """What to call each class in a log."""
        return [str(number) for number in range(self.plan.classes)]

    @property
    def chance(self) -> float:
        """Accuracy of always answering with the commonest label."""
        counts = np.bincount(self.plan.labels)
        return float(counts.max() / counts.sum())

    def _need(self, argument: str, good: bool, fix: str) -> None:
        """Raise VidsslError for a setting that cannot be."""
        if not good:
            raise VidsslError(f"{self.name}: {argument}={getattr(self, argument)!r}: {fix}")
