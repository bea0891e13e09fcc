"""Arrow of time: is a clip played forward or backward?

Source: Wei, Lim, Zisserman, Freeman, "Learning and Using the Arrow of Time", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext, most_times


@dataclass(frozen=True, kw_only=True)
class Arrow(Pretext):
    """Arrow of time. A clip is shown forward (label 0) or backward (label 1); both are equally frequent.

    The authors show optical flow to their network, remove black borders and stabilise the camera, because a network
    solves the task by such cues. Here the encoder sees the frames themselves. `vidssl audit` measures what brightness,
    colour, frame differences and key frames give away.

    Args:
        clip_length: Frames of the clip.
        stride: Distance in frames from one frame of the clip to the next; 1 takes every frame.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: one 112 x 112 crop of 128 x 171
            for the clip, nothing else random.
    """

    name: ClassVar[str] = "arrow"
    clip_length: int = 16
    stride: int = 1

    def __post_init__(self) -> None:
        self._need_whole(most_times(2, 1), clip_length=2)
        self._need_whole(stride=1)
        self._need_span((self.clip_length - 1) * self.stride + 1, "clip_length", "stride")

    def table(self) -> PlanSpec:
        """Make two rows: the frames of one run in their order, and the same frames in reverse."""
        forward = np.arange(self.clip_length)
        return PlanSpec(
            arrangements=np.stack([forward, forward[::-1]])[:, None],  # [P = 2, K = 1, T]
            labels=np.arange(2),
            bases=1,
            length=self.clip_length,
            stride=self.stride,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        """The names of the classes 0 and 1."""
        return ["forward", "backward"]

    def head(self, features: int) -> nn.Module:
        """Make a linear classifier of the clip's features."""
        return nn.Sequential(nn.Flatten(1), nn.Linear(features, 2))
