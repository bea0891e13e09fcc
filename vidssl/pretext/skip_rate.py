"""Skip rates: how fast is a clip played at each of its frames?

Source: Dave, Jenni, Shah, "No More Shortcuts: Realizing the Potential of Temporal Self-Supervision", AAAI 2024,
arXiv:2312.13008, who call it time-varying skip-rate prediction. We know no code of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext
from vidssl.pretext.heads import FrameHead
from vidssl.pretext.out_of_order import FRAMEWISE


@dataclass(frozen=True, kw_only=True)
class SkipRate(Pretext):
    """Skip rates. A clip is played at one rate, and from some frame on at another one.

    Each slot shows one frame to an encoder of single frames. A transformer in the head sees the features of all frames
    and scores each rate at each frame; the class is the row of rates. `Pace` asks the easier question of a whole clip
    with one rate.

    From the paper come the question, the scores of each frame, the transformer over frames, and that each frame is
    augmented by itself. What we know of it has neither the number of frames, nor the rates, nor how they change; those
    numbers, and that the rate changes once, are ours.

    Args:
        length: Frames of the clip.
        rates: Distances in frames from one shown frame to the next.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: each frame has a crop and colours
            of its own; all are mirrored together.
    """

    name: ClassVar[str] = "skip_rate"
    length: int = 8
    rates: tuple[int, ...] = (1, 2, 4)
    augment: Augment = FRAMEWISE

    def __post_init__(self) -> None:
        self._need("length", 3 <= self.length <= 32, "take 3 to 32 frames")
        differ = 2 <= len(self.rates) <= 8 and len(set(self.rates)) == len(self.rates) and min(self.rates) >= 1
        self._need("rates", differ, "take two to eight different rates of 1 or more")
        self._need_numbers("rates")
        self._need_span((self.length - 1) * max(self.rates) + 1, "length", "rates")

    def table(self) -> PlanSpec:
        """Make one row for each pair of rates and each frame where they change. All have the same middle frame."""
        rates = np.array(self.rates)[self._marks()[:, 1:]]  # [P, length - 1], of the steps from frame to frame
        shown = np.concatenate([np.zeros((len(rates), 1), np.int64), rates.cumsum(axis=1)], axis=1)  # [P, length]
        longest = int(shown.max())
        shown += (longest - shown[:, -1:]) // 2
        return PlanSpec(
            arrangements=shown[:, :, None],  # [P, K, T = 1]
            labels=np.arange(len(shown)),
            bases=1,
            length=longest + 1,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """How many steps have which rate, such as 3x1 4x2."""
        names = []
        for row in self._marks()[:, 1:]:
            first = int((row == row[0]).sum())
            names.append(f"{first}x{self.rates[row[0]]} {len(row) - first}x{self.rates[row[-1]]}")
        return names

    def head(self, features: int) -> nn.Module:
        """Make a `FrameHead` whose marks are the rates."""
        return FrameHead(features, self._marks())

    def _marks(self) -> npt.NDArray[np.int64]:
        """int64 [classes, length], places in `rates` of the rate that leads to each frame; to the first, as to the
        second.
        """
        places, kinds = np.arange(self.length), range(len(self.rates))
        rows = [
            np.where(places <= change, first, then)
            for first, then in permutations(kinds, 2)
            for change in range(1, self.length - 1)
        ]
        return np.array(rows, np.int64)
