"""VCOP: video clip order prediction. A few clips of one video are shuffled; which order was it?

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the
authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext
from vidssl.pretext.heads import PairHead


def orders(tuple_length: int) -> list[tuple[int, ...]]:
    """The label table: class c shows, at slot k, the clip that was the `orders(n)[c][k]`-th in time.

    For three clips 0: 012, 1: 021, 2: 102, 3: 120, 4: 201, 5: 210.
    """
    return list(permutations(range(tuple_length)))


@dataclass(frozen=True, kw_only=True)
class Vcop(Pretext):
    """VCOP; the defaults are the published settings. Their window is 64 frames: 3 clips of 16, 8 between them.

    Args:
        tuple_length: Clips of a tuple, 2 to 5; their factorial is the number of classes.
        clip_length: Frames of a clip.
        stride: From one frame of a clip to its next; 1 takes every frame.
        interval: Unused frames between one clip's last frame and the next clip's first.
        dropout: Of the head, before the classifier.
        augment: How frames are cut and coloured. Published: resized to 128 x 171, one 112 x 112 crop a clip; no flip,
            colour, mean and std.
    """

    name: ClassVar[str] = "vcop"
    tuple_length: int = 3
    clip_length: int = 16
    stride: int = 1
    interval: int = 8
    dropout: float = 0.5

    def __post_init__(self) -> None:
        self._need("tuple_length", 2 <= self.tuple_length <= 5, "take 2 to 5 clips (6 would make 720 classes)")
        for name, least in (("clip_length", 1), ("stride", 1), ("interval", 0)):
            self._need(name, getattr(self, name) >= least, f"take at least {least}")
        self._need("dropout", 0.0 <= self.dropout < 1.0, "take a probability in 0..1, less than 1")

    def table(self) -> PlanSpec:
        """Row p of the table is class p: slot k shows clip orders(n)[p][k]."""
        order = np.array(orders(self.tuple_length))  # [P, K]
        return PlanSpec(
            arrangements=order[:, :, None] * self.clip_length + np.arange(self.clip_length),  # [P, K, T]
            labels=np.arange(len(order)),
            bases=self.tuple_length,
            length=self.clip_length,
            stride=self.stride,
            gap=(self.interval, self.interval),
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The order shown: 201 is the third clip, then the first, then the second."""
        return ["".join(map(str, order)) for order in orders(self.tuple_length)]

    def head(self, features: int) -> nn.Module:
        """Every pair of clips i < j, 512 numbers a pair, then the classes."""
        return PairHead(
            features, list(combinations(range(self.tuple_length), 2)), self.plan.classes, dropout=self.dropout
        )
