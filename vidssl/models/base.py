"""The base class of encoders: an encoder turns each clip into one feature vector."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Encoder(nn.Module, ABC):
    """A model that computes the features of clips and has no classifier. An encoder of single frames takes T = 1.

    Attributes:
        features: Size D of the feature vector.
        channels: Number C of channels of the clips.
        made_for: (T, H, W) of the clips that the encoder is designed for: frames and pixels.
        minimum: The smallest (T, H, W) that the encoder accepts.
        maximum: The largest (T, H, W); None where there is no bound. A dense layer on the last map fixes H and W; they
            are then the same in minimum and maximum.
        mean: Mean of red, green and blue in 0..1, with which the encoder's first weights were trained; None if this is
            not known.
        std: Their standard deviation, likewise.
        layer_names: Its layers from the input to the output, for layer-wise learning rates. Each is the name of a part
            or of a parameter, or several names in a tuple. What comes after the last layer, such as a norm, is in none.
            () if they are not known.
    """

    features: int
    channels: int
    made_for: tuple[int, int, int]
    minimum: tuple[int, int, int]
    maximum: tuple[int | None, int | None, int | None] = (None, None, None)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    layer_names: tuple[str | tuple[str, ...], ...] = ()

    @abstractmethod
    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            clips: float [N, C, T, H, W].

        Returns:
            float [N, M, t, h, w].
        """

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the features: the mean of the last map over time, height and width, unless a subclass overrides it.

        Args:
            clips: float [N, C, T, H, W].

        Returns:
            float [N, D].
        """
        return self.forward_map(clips).mean(dim=(2, 3, 4))
