"""R3D as VCOP trains it: a plain 3D ResNet with one basic block a stage ("R3D-10").

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the authors' code;
the plan is that of Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vidssl.models.base import Encoder


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions with batch norm and a shortcut; `down` halves time, height and width."""

    def __init__(self, channels: int, width: int, *, down: bool) -> None:
        super().__init__()
        stride = 2 if down else 1
        self.conv1 = nn.Conv3d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if down or channels != width:
            self.shortcut = nn.Sequential(nn.Conv3d(channels, width, 1, stride, bias=False), nn.BatchNorm3d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: torch.Tensor = self.relu(y + self.shortcut(x))
        return out


class R3D(Encoder):
    """Stem 3x7x7 (stride 1x2x2, no pooling) and four stages of one basic block; the last three halve time, height and width.

    widths: channels of the stem and the four stages; (64, 64, 128, 256, 512) is the published encoder: 14,361,792 parameters.
    made_for: (T, H, W) of the clips it is meant for; 16 x 112 x 112 gives a last map of 512 x 2 x 7 x 7.
    """

    minimum = (8, 16, 16)  # what the strides divide by: less, and the last map sees more padding than picture

    def __init__(self, widths: Sequence[int] = (64, 64, 128, 256, 512), *, made_for: tuple[int, int, int] = (16, 112, 112)) -> None:
        super().__init__()
        if len(widths) != 5 or min(widths) < 1:
            raise ValueError(f"R3D: widths={tuple(widths)}: give five positive channel numbers, of the stem and of the four stages")
        stem, *stages = widths
        self.features, self.made_for = stages[-1], made_for
        self.stem = nn.Sequential(
            nn.Conv3d(3, stem, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False), nn.BatchNorm3d(stem), nn.ReLU(inplace=True)
        )
        channels = [stem, *stages]
        self.stages = nn.Sequential(*(BasicBlock(channels[i], channels[i + 1], down=i > 0) for i in range(4)))

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """float [N, 3, T, H, W] to [N, D, T/8, H/16, W/16]."""
        out: torch.Tensor = self.stages(self.stem(clips))
        return out


def r3d() -> R3D:
    """The published encoder: clips 3 x 16 x 112 x 112, 512 features, 14,361,792 parameters."""
    return R3D()


def r3d_tiny() -> R3D:
    """The same plan, narrow, for small clips on a CPU: 3 x 8 x 56 x 56, 64 features. Ours."""
    return R3D((16, 16, 24, 32, 64), made_for=(8, 56, 56))
