"""VCOP: video clip order prediction. A few clips of one video are shuffled. In which order were they?

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the
authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext, most_times
from vidssl.pretext.heads import PairHead


def orders(tuple_length: int) -> list[tuple[int, ...]]:
    """List the order of each class. For three clips: 0: 012, 1: 021, 2: 102, 3: 120, 4: 201, 5: 210.

    Args:
        tuple_length: Number of clips n.

    Returns:
        n! orders. In class c, slot k shows the clip that is `orders(n)[c][k]`-th in time, counted from 0.
    """
    return list(permutations(range(tuple_length)))


@dataclass(frozen=True, kw_only=True)
class Vcop(Pretext):
    """VCOP. The defaults are the published settings: a window of 64 frames, with 3 clips of 16 frames and 8 unused
    frames between clips.

    Args:
        tuple_length: Clips in a tuple, 2 to 5. The number of classes is the factorial of this number.
        clip_length: Frames in a clip.
        stride: Distance in frames from one frame of a clip to the next; 1 takes every frame.
        interval: Number of unused frames between the last frame of a clip and the first frame of the next clip.
        interval_max: Each of these numbers is drawn anew from interval..interval_max. If that are as many as there are
            frames from one key frame to the next, the places between key frames do not tell the order. None, as
            published, always takes `interval`.
        dropout: Dropout probability in the head, before the classifier.
        augment: How to resize, crop, flip, colour and normalise the frames. Default, as published: resize to 128 x 171
            and take one 112 x 112 crop for each clip, without flip, colour, mean and std.
    """

    name: ClassVar[str] = "vcop"
    tuple_length: int = 3
    clip_length: int = 16
    stride: int = 1
    interval: int = 8
    interval_max: int | None = None
    dropout: float = 0.5

    def __post_init__(self) -> None:
        self._need("tuple_length", 2 <= self.tuple_length <= 5, "take 2 to 5 clips (6 would make 720 classes)")
        self._need_whole(most_times(math.factorial(self.tuple_length), self.tuple_length), clip_length=1)
        self._need_whole(stride=1, interval=0)
        widest = self.interval_max is None or self.interval_max >= self.interval
        self._need("interval_max", widest, f"take at least interval={self.interval}, or None")
        extent, between = (self.clip_length - 1) * self.stride + 1, self.interval_max or self.interval
        names = ("clip_length", "stride", "interval", "interval_max")
        self._need_span(self.tuple_length * (extent + between), *names)
        self._need("dropout", 0.0 <= self.dropout < 1.0, "take a probability from 0 to less than 1")

    def table(self) -> PlanSpec:
        """Make one row for each class. In row p, slot k shows clip orders(n)[p][k]."""
        order = np.array(orders(self.tuple_length))  # [P, K]
        return PlanSpec(
            arrangements=order[:, :, None] * self.clip_length + np.arange(self.clip_length),  # [P, K, T]
            labels=np.arange(len(order)),
            bases=self.tuple_length,
            length=self.clip_length,
            stride=self.stride,
            gap=(self.interval, self.interval if self.interval_max is None else self.interval_max),
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The order shown. 201 means the third clip, then the first, then the second."""
        return ["".join(map(str, order)) for order in orders(self.tuple_length)]

    def head(self, features: int) -> nn.Module:
        """Make a `PairHead` over all pairs of clips i < j, with 512 outputs for each pair."""
        return PairHead(
            features, list(combinations(range(self.tuple_length), 2)), self.plan.classes, dropout=self.dropout
        )
