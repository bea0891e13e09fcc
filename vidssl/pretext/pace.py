"""Pace prediction: how fast is a clip played?

Source: Wang, Jiao, Liu, "Self-supervised Video Representation Learning by Pace Prediction", ECCV 2020,
arXiv:2008.05861, and the authors' code. Their contrastive loss is not part of this task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext, most_times

# As the authors' code: one crop and one mirroring for a clip, other colours for each frame. Their hue and the fifth of
# the frames that keep their colours are left out.
COLORS_PER_FRAME = Augment(flip=0.5, brightness=0.8, contrast=0.8, saturation=0.8, color_scope="frame")


@dataclass(frozen=True, kw_only=True)
class Pace(Pretext):
    """Pace prediction. A clip shows every n-th frame; the label tells which n of `paces`.

    Slower clips lie in the middle of the frames that the fastest one covers, so that the place of a clip in the video
    does not tell its pace. The authors repeat a short video from its beginning; here a video must be long enough for
    the fastest clip, because the jump would tell the pace.

    Args:
        clip_length: Frames of the clip.
        paces: Class c shows every paces[c]-th frame. Published: 1, 2, 3 and 4.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: 112 x 112 of 128 x 171, mirrored
            in half of the cases, with other colours for each frame, as published.
    """

    name: ClassVar[str] = "pace"
    clip_length: int = 16
    paces: tuple[int, ...] = (1, 2, 3, 4)
    augment: Augment = COLORS_PER_FRAME

    def __post_init__(self) -> None:
        differ = len(self.paces) >= 2 and len(set(self.paces)) == len(self.paces) and min(self.paces) >= 1
        self._need("paces", differ, "take at least two different paces of 1 or more")
        self._need_numbers("paces")
        self._need_whole(most_times(len(self.paces), 1), clip_length=2)
        self._need_span((self.clip_length - 1) * max(self.paces) + 1, "clip_length", "paces")

    def table(self) -> PlanSpec:
        """Make one row for each pace."""
        stride = math.gcd(*self.paces)  # frames between them are never shown
        steps, paces = self.clip_length - 1, [pace // stride for pace in self.paces]
        shown, fastest = np.arange(self.clip_length), max(paces)
        return PlanSpec(
            arrangements=np.array([[steps * (fastest - pace) // 2 + shown * pace] for pace in paces]),  # [P, K = 1, T]
            labels=np.arange(len(paces)),
            bases=1,
            length=steps * fastest + 1,
            stride=stride,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The pace of each class, such as 2x."""
        return [f"{pace}x" for pace in self.paces]

    def head(self, features: int) -> nn.Module:
        """Make a linear classifier of the clip's features."""
        return nn.Sequential(nn.Flatten(1), nn.Linear(features, len(self.paces)))
