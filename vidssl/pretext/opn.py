"""OPN: order prediction network. Four frames of a video are shuffled; which order was it, forwards or backwards?

Source: Lee, Huang, Singh, Yang, "Unsupervised Representation Learning by Sorting Sequences", ICCV 2017, and the
authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext
from vidssl.pretext.heads import PairHead

# Class c shows, at slot k, the frame that was the ORDERS[c][k]-th in time, or the same backwards. The authors' order of
# classes.
ORDERS = (
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
PAIRS = ((0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3))

# The 100 x 100 part of a 240 x 320 picture that moves most; out of it one 80 x 80 crop for the four frames, each then
# moved by up to 5 pixels an axis; one mirror for the four, one channel for each; the authors' scalar mean, the range
# stays 0..255.
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
    """OPN. Four frames of a window are drawn in proportion to their motion and shown in one of 24 orders; an order and
    its reverse are one class, which leaves 12.

    How far apart the authors' frames lie is not published: interval_min, interval_max and the window are ours.

    Args:
        interval_min: Fewest frames from one of the four to the next.
        interval_max: Most frames from one of the four to the next.
        tries: Draws of four frames before a tuple is given up: then it is shown with a status, and training leaves it
            out of the loss.
        dropout: Of the head, before the classifier.
        window: Frames from which the four are drawn; none takes 3 interval_max + 1.
        augment: How frames are cut and coloured: the published patch, jitter, mirror and channel splitting.
    """

    name: ClassVar[str] = "opn"
    interval_min: int = 4
    interval_max: int = 16
    tries: int = 64
    dropout: float = 0.5
    window: int | None = None
    augment: Augment = PATCH

    def __post_init__(self) -> None:
        self._need("interval_min", self.interval_min >= 1, "take at least 1 frame")
        self._need(
            "interval_max", self.interval_max >= self.interval_min, f"take at least interval_min={self.interval_min}"
        )
        self._need("tries", self.tries >= 1, "take at least 1")
        self._need("dropout", 0.0 <= self.dropout < 1.0, "take a probability in 0..1, less than 1")
        least = 3 * self.interval_min + 1
        self._need(
            "window",
            self.window is None or self.window >= least,
            f"take at least {least} frames, which interval_min asks for",
        )

    def table(self) -> PlanSpec:
        """Rows 2c and 2c + 1 are class c: its order, and that backwards."""
        rows = np.array([shown for order in ORDERS for shown in (order, order[::-1])])
        return PlanSpec(
            arrangements=rows[:, :, None],  # [24, 4, 1]
            labels=np.arange(len(ORDERS)).repeat(2),
            bases=4,
            draw="free",
            weight="motion",
            limits=tuple((i, i + 1, self.interval_min, self.interval_max) for i in range(3)),
            tries=self.tries,
            window=self.window if self.window is not None else 3 * self.interval_max + 1,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The order shown, as the authors write it; its reverse is the same class."""
        return ["".join(str(frame + 1) for frame in order) for order in ORDERS]

    def head(self, features: int) -> nn.Module:
        """Six pairs of frames, 512 numbers a pair, with batch norm, then the classes."""
        return PairHead(features, PAIRS, len(ORDERS), dropout=self.dropout, norm=True)
