"""OPN: order prediction network. A few frames of a video are shuffled. In which order were they?

Source: Lee, Huang, Singh, Yang, "Unsupervised Representation Learning by Sorting Sequences", ICCV 2017, and the
authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import nn

from vidssl.checks import is_whole
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import MAX_PLACES, MAX_TRIES, PlanSpec
from vidssl.pretext.base import Pretext
from vidssl.pretext.heads import PairHead

# In class c, slot k shows the frame that is ORDERS[c][k]-th in time, counted from 0; or the tuple is shown in reverse.
# Those of four frames are in the authors' order. We know no published list for three frames.
FOUR = (
    (0, 1, 2, 3),
    (0, 2, 1, 3),
    (0, 2, 3, 1),
    (0, 1, 3, 2),
    (0, 3, 1, 2),
    (0, 3, 2, 1),
    (1, 0, 2, 3),
    (1, 0, 3, 2),
    (1, 2, 0, 3),
    (2, 0, 1, 3),
    (2, 0, 3, 1),
    (2, 1, 0, 3),
)
ORDERS = {3: ((0, 1, 2), (0, 2, 1), (1, 0, 2)), 4: FOUR}

# Resize to 240 x 320 and take the 100 x 100 region with the most motion. Take one 80 x 80 crop of the region for all
# frames, and jitter the crop of each frame by up to 5 pixels along each axis. Flip all frames together. Show
# one colour channel of each frame. Subtract the authors' scalar mean; the range stays 255 wide.
PATCH = Augment(
    resize=(240, 320),
    region=(100, 100),
    crop=(80, 80),
    crop_scope="tuple",
    jitter=5,
    flip=0.5,
    flip_scope="tuple",
    split=1.0,
    color_scope="frame",
    mean=(96.5 / 255, 96.5 / 255, 96.5 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)


@dataclass(frozen=True, kw_only=True)
class Opn(Pretext):
    """OPN. Draws four frames of a window in proportion to their motion and shows them in one of 24 orders. An order and
    its reverse are one class, so there are 12 classes.

    docs/methods.md compares the settings with the published ones.

    Args:
        tuple_length: Frames in a tuple, 3 or 4; 4 as published.
        grouped: An order and its reverse are one class, as published: 3 classes for three frames, 12 for four. False
            makes every order a class of its own: 6 or 24.
        sampling: "motion" draws the frames in proportion to their motion, as published. "uniform" draws them evenly.
            The place of the patch follows the motion either way.
        interval_min: Smallest distance in frames from one frame of the tuple to the next.
        interval_max: Largest distance in frames from one frame of the tuple to the next.
        tries: Number of draws of the frames before the sampler gives up. A tuple without a valid draw is marked by its
            status, and training leaves it out of the loss.
        dropout: Dropout probability in the head, before the classifier.
        window: Length in frames of the window from which the frames are drawn. Default: the largest distance between
            the first and the last frame plus 1, (tuple_length - 1) interval_max + 1.
        windows: Where the window lies. "motion" draws its first frame in proportion to the motion within it. "even"
            draws it evenly.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: the published patch, jitter, flip
            and channel splitting.
    """

    name: ClassVar[str] = "opn"
    plain_biases: ClassVar[tuple[str, ...]] = ("classify.bias",)
    tuple_length: Literal[3, 4] = 4
    grouped: bool = True
    sampling: Literal["motion", "uniform"] = "motion"
    interval_min: int = 4
    interval_max: int = 16
    tries: int = 64
    dropout: float = 0.5
    window: int | None = None
    windows: Literal["even", "motion"] = "even"
    augment: Augment = PATCH

    def __post_init__(self) -> None:
        self._need_whole(interval_min=1, interval_max=1)
        self._need(
            "interval_max", self.interval_max >= self.interval_min, f"take at least interval_min={self.interval_min}"
        )
        self._need_whole(MAX_TRIES, tries=1)
        self._need("dropout", 0.0 <= self.dropout < 1.0, "take a probability from 0 to less than 1")
        steps = self.tuple_length - 1
        least = steps * self.interval_min + 1
        self._need(
            "window",
            self.window is None or is_whole(self.window, least, MAX_PLACES),
            f"take at least {least} frames ({steps} * interval_min + 1), and at most {MAX_PLACES}",
        )
        self._need_span(self._window, "tuple_length", "interval_max", "window")

    def table(self) -> PlanSpec:
        """Make one row for each order. Of a class c of grouped orders, row 2c + 1 shows row 2c in reverse."""
        rows, steps = self._rows(), self.tuple_length - 1
        return PlanSpec(
            arrangements=np.array(rows)[:, :, None],  # [P, K, 1]
            labels=np.arange(len(rows)) // (2 if self.grouped else 1),
            bases=self.tuple_length,
            draw="free",
            weight=self.sampling,
            limits=tuple((i, i + 1, self.interval_min, self.interval_max) for i in range(steps)),
            tries=self.tries,
            window=self._window,
            windows=self.windows,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The order shown, with frames counted from 1 as the authors do. In a group, its reverse is the same class."""
        return ["".join(str(frame + 1) for frame in order) for order in self._rows()[:: 2 if self.grouped else 1]]

    def head(self, features: int) -> nn.Module:
        """Make a `PairHead` over all pairs of frames, with 512 outputs for each pair and batch norm.

        As published, weights are initialised from a normal distribution with a standard deviation of 0.005, and biases
        start at 1.
        """
        count = self.tuple_length
        pairs = [(i, i + apart) for apart in range(1, count) for i in range(count - apart)]  # in the authors' order
        head = PairHead(features, pairs, self.plan.classes, dropout=self.dropout, norm=True)
        for layer in (head.pair, head.classify):
            nn.init.normal_(layer.weight, std=0.005)
            nn.init.ones_(layer.bias)
        return head

    @property
    def _window(self) -> int:
        return self.window if self.window is not None else (self.tuple_length - 1) * self.interval_max + 1

    def _rows(self) -> list[tuple[int, ...]]:
        """Every order, each followed by its reverse."""
        return [shown for order in ORDERS[self.tuple_length] for shown in (order, order[::-1])]
