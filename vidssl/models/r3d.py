"""R3D as VCOP trains it: a plain 3D ResNet with one basic block per stage ("R3D-10").

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the
authors' code. The architecture is from Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action
Recognition", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from vidssl.models.base import Encoder
from vidssl.models.residual import BasicBlock, Block, conv3d, stages

Stem = Callable[[int, int], nn.Module]  # channels of the clips, output channels; halves height and width


def plain_stem(channels: int, width: int) -> nn.Module:
    """Builds one 3x7x7 convolution."""
    return nn.Conv3d(channels, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)


class Difference(nn.Module):
    """Subtracts from each frame the frame before it, so that only what changes is left."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the differences [N, C, T - 1, H, W] of clips [N, C, T, H, W]."""
        return clips[:, :, 1:] - clips[:, :, :-1]


def difference_stem(channels: int, width: int) -> nn.Sequential:
    """Builds `plain_stem` on the differences of adjacent frames."""
    return nn.Sequential(Difference(), plain_stem(channels, width))


def plain_block(channels: int, width: int, stride: int) -> BasicBlock:
    """Builds a block of two 3x3x3 convolutions, with a 1x1x1 convolution in the shortcut."""
    return BasicBlock(channels, width, stride, conv=conv3d, norm=nn.BatchNorm3d)


class R3D(Encoder):
    """A 3x7x7 stem (stride 1x2x2, no pooling) and four stages; the last three halve time, height and width.

    The published encoder has 14,361,792 parameters. Clips of 16 x 112 x 112 give a last map of 512 x 2 x 7 x 7.

    Args:
        widths: Channels of the stem and of the four stages; the default is the published encoder.
        channels: Number of channels of the clips.
        made_for: (T, H, W) of the clips that the encoder is designed for: frames and pixels.
        blocks: Number of blocks in each stage.
        stem: Builds the stem; by default a whole 3D convolution.
        block: Builds a block; by default from whole 3D convolutions.

    Raises:
        ValueError: widths is not five positive numbers.
    """

    minimum = (8, 16, 16)  # what the strides divide by; with smaller clips the last map sees more padding than picture

    def __init__(
        self,
        widths: Sequence[int] = (64, 64, 128, 256, 512),
        *,
        channels: int = 3,
        made_for: tuple[int, int, int] = (16, 112, 112),
        blocks: int = 1,
        stem: Stem = plain_stem,
        block: Block = plain_block,
    ) -> None:
        super().__init__()
        if len(widths) != 5 or min(widths) < 1:
            raise ValueError(
                f"R3D: widths={tuple(widths)}: give five positive numbers: channels of the stem and of the four stages"
            )
        self.features, self.channels, self.made_for = widths[-1], channels, made_for
        self.stem = nn.Sequential(stem(channels, widths[0]), nn.BatchNorm3d(widths[0]), nn.ReLU(inplace=True))
        self.stages = stages(widths, [blocks] * 4, block)
        self.layer_names = ("stem", *(f"stages.{at}" for at in range(len(self.stages))))

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            clips: float [N, C, T, H, W].

        Returns:
            float [N, D, T/8, H/16, W/16].
        """
        out: torch.Tensor = self.stages(self.stem(clips))
        return out


def r3d(*, channels: int = 3) -> R3D:
    """Builds the published encoder: clips of 3 x 16 x 112 x 112, 512 features, 14,361,792 parameters."""
    return R3D(channels=channels)


def r3d_tiny(*, channels: int = 3) -> R3D:
    """Builds a narrow R3D of our own for small clips on a CPU: 3 x 8 x 56 x 56, 64 features."""
    return R3D((16, 16, 24, 32, 64), channels=channels, made_for=(8, 56, 56))


def r3d_tiny_difference(*, channels: int = 3) -> R3D:
    """Builds `r3d_tiny` on the differences of adjacent frames: it does not see what stands still."""
    return R3D((16, 16, 24, 32, 64), channels=channels, made_for=(8, 56, 56), stem=difference_stem)
