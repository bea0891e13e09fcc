"""Out-of-order frames: which frames of a clip are in a wrong place?

Source: Dave, Jenni, Shah, "No More Shortcuts: Realizing the Potential of Temporal Self-Supervision", AAAI 2024,
arXiv:2312.13008, who call it out-of-order frame localization. We know no code of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import ClassVar, Literal

import numpy as np
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext
from vidssl.pretext.heads import FrameHead

FRAMEWISE = Augment(flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2)  # each frame is cut by itself


@dataclass(frozen=True, kw_only=True)
class OutOfOrder(Pretext):
    """Out-of-order frames. A few frames of a clip change places with each other; none of them stays where it was.

    With level="frame", each slot shows one frame to an encoder of single frames. A transformer in the head sees the
    features of all frames and scores each; the class is the set of the frames that are out of order. With level="clip",
    the only slot shows the whole clip, and the class tells whether it is in order: the easier question that such tasks
    usually ask.

    From the paper come the question, the score of each frame, the transformer over frames, and that each frame is
    augmented by itself. What we know of it has neither the number of frames nor how many are out of order; those
    numbers, and the fixed number of moved frames, are ours.

    Args:
        length: Frames of the clip.
        stride: Distance in frames from one frame of the clip to the next; 1 takes every frame.
        moved: Number of frames that are out of order.
        level: "frame" asks which frames, "clip" whether any.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: each frame has a crop and colours
            of its own; all are mirrored together.
    """

    name: ClassVar[str] = "out_of_order"
    length: int = 8
    stride: int = 4
    moved: int = 2
    level: Literal["frame", "clip"] = "frame"
    augment: Augment = FRAMEWISE

    def __post_init__(self) -> None:
        self._need("length", 3 <= self.length <= 16, "take 3 to 16 frames")
        self._need_whole(stride=1)
        self._need_span((self.length - 1) * self.stride + 1, "length", "stride")
        self._need("moved", 2 <= self.moved <= min(4, self.length - 1), f"take 2 to {min(4, self.length - 1)} frames")

    def table(self) -> PlanSpec:
        """Make one row for each set of moved frames and each way to move them; for clips, as many rows in order."""
        right, rows = np.arange(self.length), []
        for places in self._sets():
            for order in permutations(places):
                if all(place != shown for place, shown in zip(places, order, strict=True)):
                    row = right.copy()
                    row[list(places)] = order
                    rows.append(row)
        wrong = np.array(rows)  # [P, length]; the ways to move frames are next to each other
        if self.level == "clip":
            arrangements = np.concatenate([np.broadcast_to(right, wrong.shape), wrong])[:, None]  # [P, K = 1, T]
            labels = np.repeat([0, 1], len(wrong))
        else:
            arrangements = wrong[:, :, None]  # [P, K, T = 1]
            labels = np.arange(len(wrong)) // (len(wrong) // len(self._sets()))
        return PlanSpec(
            arrangements=arrangements,
            labels=labels,
            bases=1,
            length=self.length,
            stride=self.stride,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The frames that are out of order, counted from 0; or whether any is."""
        if self.level == "clip":
            return ["in order", "out of order"]
        return ["+".join(map(str, places)) for places in self._sets()]

    def head(self, features: int) -> nn.Module:
        """Make a `FrameHead` with the marks "in order" and "out of order"; for clips, a linear classifier."""
        if self.level == "clip":
            return nn.Sequential(nn.Flatten(1), nn.Linear(features, 2))
        marks = np.zeros((len(self._sets()), self.length), np.int64)
        for row, places in zip(marks, self._sets(), strict=True):
            row[list(places)] = 1
        return FrameHead(features, marks)

    def _sets(self) -> list[tuple[int, ...]]:
        """Every set of places whose frames change places."""
        return list(combinations(range(self.length), self.moved))
