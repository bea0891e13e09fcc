"""Jigsaw in space and time: in which order were four pieces of a video?

Source: Kim, Cho, Kweon, "Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles", AAAI 2019,
arXiv:1811.09795.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Literal

import numpy as np
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import MOST_HIDDEN, Pretext, most_times

PIECES = 4  # in space, 2 x 2 cells of the picture; in time, 4 stretches
ORDERS = list(permutations(range(PIECES)))
FOUR_CELLS = Augment(resize=(160, 160), crop=(64, 64))


@dataclass(frozen=True, kw_only=True)
class Jigsaw(Pretext):
    """Space-time cubic puzzles. The picture is divided into 2 x 2 cells, and a window into 4 stretches of time.

    A tuple shows four pieces in one of 24 orders: in space the four cells of one stretch, in time the four stretches of
    one cell. The cell or stretch that they share is drawn evenly. Each piece is cut at random from its cell, so that
    its edges do not continue those of its neighbour.

    The cuboid, the pieces and their orders are those of the paper, of which we know notes. With axis="both", the class
    tells the axis as well as the order; that, the sizes and the head are ours.

    Args:
        axis: "space" and "time" ask for an order along one axis, in 24 classes; "both" asks for either, in 48.
        clip_length: Frames of a piece.
        stride: Distance in frames from one frame of a piece to the next; 1 takes every frame.
        interval: Number of unused frames between two stretches.
        interval_max: Each of these numbers is drawn anew from interval..interval_max; None always takes `interval`.
        hidden: Outputs of the hidden layer of the head.
        dropout: Dropout probability in the head, before the classifier.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: a cell of 80 x 80 pixels, from
            which each piece takes 64 x 64. A mirrored piece stays in its cell.
    """

    name: ClassVar[str] = "jigsaw"
    axis: Literal["space", "time", "both"] = "both"
    clip_length: int = 8
    stride: int = 1
    interval: int = 2
    interval_max: int | None = None
    hidden: int = 512
    dropout: float = 0.5
    augment: Augment = FOUR_CELLS

    def __post_init__(self) -> None:
        rows = 2 * PIECES * len(ORDERS)  # at most
        self._need_whole(most_times(rows, PIECES), clip_length=1)
        self._need_whole(stride=1, interval=0)
        self._need_whole(MOST_HIDDEN, hidden=1)
        widest = self.interval_max is None or self.interval_max >= self.interval
        self._need("interval_max", widest, f"take at least interval={self.interval}, or None")
        extent, between = (self.clip_length - 1) * self.stride + 1, self.interval_max or self.interval
        # Each frame of the stretches has a number for each of the cells.
        frames = PIECES * max(extent + between, PIECES * self.clip_length)
        self._need_span(frames, "clip_length", "stride", "interval", "interval_max")
        self._need("dropout", 0.0 <= self.dropout < 1.0, "take a probability from 0 to less than 1")

    def table(self) -> PlanSpec:
        """Make one row for each order and each cell or stretch that the pieces share."""
        stretches = 1 if self.axis == "space" else PIECES
        orders, times = np.array(ORDERS), np.arange(self.clip_length)
        rows, labels = [], []
        for axis in ("space", "time") if self.axis == "both" else (self.axis,):
            for shared in range(stretches if axis == "space" else PIECES):
                piece = orders * stretches + shared if axis == "space" else shared * stretches + orders  # [24, K]
                rows.append(piece[:, :, None] * self.clip_length + times)
                labels.append(np.arange(len(ORDERS)) + (len(ORDERS) if (self.axis, axis) == ("both", "time") else 0))
        return PlanSpec(
            arrangements=np.concatenate(rows),  # [P, K, T]
            labels=np.concatenate(labels),
            bases=stretches,
            length=self.clip_length,
            stride=self.stride,
            gap=(self.interval, self.interval if self.interval_max is None else self.interval_max),
            grid=(2, 2),
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The order shown. In space, 0 to 3 are the upper left, upper right, lower left and lower right cell."""
        axes = ("space", "time") if self.axis == "both" else (self.axis,)
        return [f"{axis} {''.join(map(str, order))}" for axis in axes for order in ORDERS]

    def head(self, features: int) -> nn.Module:
        """Make a head that concatenates the features of the pieces, with one hidden layer."""
        return nn.Sequential(
            nn.Flatten(1),
            nn.Linear(PIECES * features, self.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, self.plan.classes),
        )
