"""What every encoder is: clips in, one feature vector a clip out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Encoder(nn.Module, ABC):
    """A feature extractor without a classifier.

    features: size D of the pooled feature.
    made_for: (T, H, W) of the clips it is meant for; minimum: the smallest (T, H, W) that still reaches its last map.
    """

    features: int
    made_for: tuple[int, int, int]
    minimum: tuple[int, int, int]

    @abstractmethod
    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, 3, T, H, W] to the last map [N, D, t, h, w]."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, 3, T, H, W] to the pooled features [N, D]: the mean of the last map over time and place."""
        return self.forward_map(clips).mean(dim=(2, 3, 4))
