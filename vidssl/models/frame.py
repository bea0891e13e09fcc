"""Encoders that look at one frame at a time."""

from __future__ import annotations

from abc import abstractmethod

import torch

from vidssl.models.base import Encoder


class FrameEncoder(Encoder):
    """An encoder of single frames: its clips have T = 1, and so has its last map."""

    maximum: tuple[int | None, int | None, int | None] = (1, None, None)

    @abstractmethod
    def frame_map(self, frames: torch.Tensor) -> torch.Tensor:
        """float [N, C, H, W] to the last map [N, M, h, w]."""

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, C, 1, H, W] to [N, M, 1, h, w]. Raises ValueError where a clip has more frames than one."""
        if clips.dim() != 5 or clips.shape[2] != 1:
            raise ValueError(
                f"clips: shape {tuple(clips.shape)}: this encoder looks at single frames; give [N, C, 1, H, W]"
            )
        return self.frame_map(clips.squeeze(2)).unsqueeze(2)
