"""VCOP: video clip order prediction. A few clips of one video are shuffled; which order was it?

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import factorial
from typing import Any

import numpy as np
import torch
from torch import nn

from vidssl.pretext.base import Pretext
from vidssl.stages.plan import Augment, PlanSpec
from vidssl.types import VidsslError


class PairHead(nn.Module):
    """Every pair of slots (i < j) through one shared layer, then one classifier over all pairs.

    features [B, K, D] to logits [B, classes]; 534,022 parameters for D = 512, K = 3, classes = 6.
    """

    def __init__(self, features: int, slots: int, classes: int, *, hidden: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.pairs = list(combinations(range(slots), 2))
        self.pair = nn.Linear(2 * features, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden * len(self.pairs), classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pairs = [self.relu(self.pair(torch.cat((features[:, i], features[:, j]), dim=1))) for i, j in self.pairs]
        out: torch.Tensor = self.classify(self.dropout(torch.cat(pairs, dim=1)))
        return out


def orders(tuple_length: int) -> list[tuple[int, ...]]:
    """The label table: class c shows, at slot k, the clip that was the `orders(n)[c][k]`-th in time.

    For three clips 0: 012, 1: 021, 2: 102, 3: 120, 4: 201, 5: 210.
    """
    return list(permutations(range(tuple_length)))


@dataclass(frozen=True, kw_only=True)
class Vcop:
    """The settings of VCOP; the defaults are the published ones.

    Args:
        tuple_length: Clips of a tuple, 2 to 5; their factorial is the number of classes.
        clip_length: Frames of a clip.
        stride: From one frame of a clip to its next; 1 takes every frame.
        interval: Unused frames between one clip's last frame and the next clip's first.
        dropout: Of the head, before the classifier.
        augment: How frames are cut and coloured: resized to 128 x 171, one 112 x 112 crop a clip; no flip, no colour, no mean and std.
    """

    tuple_length: int = 3
    clip_length: int = 16
    stride: int = 1
    interval: int = 8
    dropout: float = 0.5
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        if not 2 <= self.tuple_length <= 5:
            raise VidsslError(f"vcop: tuple_length={self.tuple_length!r}: take 2 to 5 clips (6 would make 720 classes)")
        for name, least in (("clip_length", 1), ("stride", 1), ("interval", 0)):
            if getattr(self, name) < least:
                raise VidsslError(f"vcop: {name}={getattr(self, name)!r}: take at least {least}")
        if not 0.0 <= self.dropout < 1.0:
            raise VidsslError(f"vcop: dropout={self.dropout!r}: take a probability in 0..1, less than 1")

    def pretext(self) -> Pretext:
        """The table and the head. Row p of the table is class p: slot k shows clip orders(n)[p][k]."""
        order = np.array(orders(self.tuple_length))  # [P, K]
        plan = PlanSpec(
            arrangements=(order[:, :, None] * self.clip_length + np.arange(self.clip_length)).astype(np.int32),  # [P, K, T]
            labels=np.arange(factorial(self.tuple_length), dtype=np.int64),
            bases=self.tuple_length,
            length=self.clip_length,
            stride=self.stride,
            draw="chain",
            gap=(self.interval, self.interval),
            augment=self.augment,
        )

        def head(features: int) -> nn.Module:
            return PairHead(features, plan.slots, plan.classes, dropout=self.dropout)

        return Pretext(name="vcop", plan=plan, head=head)


def vcop(
    *,
    tuple_length: int = Vcop.tuple_length,
    clip_length: int = Vcop.clip_length,
    stride: int = Vcop.stride,
    interval: int = Vcop.interval,
    dropout: float = Vcop.dropout,
    **augment: Any,
) -> Pretext:
    """VCOP as published, or with other settings: those of `Vcop`; all others are fields of `Augment` (`resize=`, `crop=`, ...).

    The window of the published setting is 64 frames: 3 clips of 16, 8 between them. Raises VidsslError for values out of range.
    """
    return Vcop(
        tuple_length=tuple_length,
        clip_length=clip_length,
        stride=stride,
        interval=interval,
        dropout=dropout,
        augment=Augment(**augment),
    ).pretext()
