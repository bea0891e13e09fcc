"""Two small tasks whose clips have the shape of VCOP's, to be joined with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.plan import PlanSpec
from vidssl.pretext import Pretext


@dataclass(frozen=True, kw_only=True)
class Fast(Pretext):
    """Does the clip show every frame, or every second one?"""

    name: ClassVar[str] = "fast"
    plain_biases: ClassVar[tuple[str, ...]] = ("1.bias",)
    clip_length: int = 4

    def table(self) -> PlanSpec:
        shown = np.arange(self.clip_length)
        return PlanSpec(
            arrangements=np.array([[shown], [2 * shown]]),
            labels=np.arange(2),
            bases=1,
            length=2 * self.clip_length - 1,
            augment=self.augment,
        )

    def head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Linear(features, 2))

    @property
    def class_names(self) -> list[str]:
        return ["1x", "2x"]


@dataclass(frozen=True, kw_only=True)
class Reversed(Pretext):
    """Which of two clips runs backwards, or none of them? One time in two it is none."""

    name: ClassVar[str] = "reversed"
    clip_length: int = 4
    dropout: float = 0.0

    def table(self) -> PlanSpec:
        shown = np.arange(2 * self.clip_length).reshape(2, -1)
        rows = [shown, shown, [shown[0, ::-1], shown[1]], [shown[0], shown[1, ::-1]]]
        return PlanSpec(
            arrangements=np.array(rows),
            labels=np.array([0, 0, 1, 2]),
            bases=2,
            length=self.clip_length,
            gap=(0, 3),
            augment=self.augment,
        )

    def head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Dropout(self.dropout), nn.Linear(2 * features, 3))
