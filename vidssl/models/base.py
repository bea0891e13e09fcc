"""What every encoder is: clips in, one feature vector a clip out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Encoder(nn.Module, ABC):
    """A feature extractor without a classifier. One that looks at single frames takes clips of T = 1.

    features: size D of the feature. channels: C of its clips.
    made_for: (T, H, W) of the clips it is meant for; minimum: the smallest (T, H, W) that still reaches its last map;
    maximum: the largest, None where there is no bound. A fully connected layer fixes H and W: then minimum and maximum
    agree.
    """

    features: int
    channels: int
    made_for: tuple[int, int, int]
    minimum: tuple[int, int, int]
    maximum: tuple[int | None, int | None, int | None] = (None, None, None)

    @abstractmethod
    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, C, T, H, W] to the last map [N, M, t, h, w]."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, C, T, H, W] to the features [N, D]: the mean of the last map over time and place, unless an encoder
        says otherwise.
        """
        return self.forward_map(clips).mean(dim=(2, 3, 4))
