"""The base class of encoders of single frames."""

from __future__ import annotations

from abc import abstractmethod

import torch

from vidssl.models.base import Encoder


class FrameEncoder(Encoder):
    """An encoder of single frames: its clips and its last map have T = 1."""

    maximum: tuple[int | None, int | None, int | None] = (1, None, None)

    @abstractmethod
    def frame_map(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            frames: float [N, C, H, W].

        Returns:
            float [N, M, h, w].
        """

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            clips: float [N, C, 1, H, W].

        Returns:
            float [N, M, 1, h, w].

        Raises:
            ValueError: The clips do not have exactly one frame.
        """
        if clips.dim() != 5 or clips.shape[2] != 1:
            raise ValueError(
                f"clips: shape {tuple(clips.shape)}: this encoder takes single frames; give [N, C, 1, H, W]"
            )
        return self.frame_map(clips.squeeze(2)).unsqueeze(2)
