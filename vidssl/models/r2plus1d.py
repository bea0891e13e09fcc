"""R(2+1)D as VCOP trains it: R3D with every convolution split into one over height and width and one over time.

Source: as for R3D: Xu et al., CVPR 2019, and the authors' code; the split is from Tran et al., CVPR 2018.
"""

from __future__ import annotations

from torch import nn

from vidssl.models.r3d import R3D
from vidssl.models.residual import BasicBlock


def middle_width(channels: int, width: int, time: int, size: int) -> int:
    """Computes the number of channels between the two halves of a split convolution.

    Both halves together then have as many parameters as the whole convolution, or a few less because of rounding down.

    Args:
        channels: Input channels.
        width: Output channels.
        time: Kernel size in time, in frames.
        size: Kernel size in height and width, in pixels.

    Returns:
        The number of channels.
    """
    return time * size**2 * channels * width // (size**2 * channels + time * width)


class Split(nn.Sequential):
    """A 1 x size x size convolution, batch norm, ReLU, and a time x 1 x 1 convolution, padded to keep the size.

    Args:
        channels: Input channels.
        width: Output channels.
        middle: Channels between the two convolutions.
        time: Kernel size in time, in frames.
        size: Kernel size in height and width, in pixels.
        stride: Stride in time, and stride in height and width.
    """

    def __init__(
        self, channels: int, width: int, *, middle: int, time: int, size: int, stride: tuple[int, int]
    ) -> None:
        super().__init__(
            nn.Conv3d(
                channels, middle, (1, size, size), (1, stride[1], stride[1]), (0, size // 2, size // 2), bias=False
            ),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, width, (time, 1, 1), (stride[0], 1, 1), (time // 2, 0, 0), bias=False),
        )


def split(channels: int, width: int, size: int, stride: int) -> Split:
    """Splits a size x size x size convolution; its own input and output channels determine the middle width."""
    middle = middle_width(channels, width, size, size)
    return Split(channels, width, middle=middle, time=size, size=size, stride=(stride, stride))


def _stem(channels: int, width: int) -> Split:
    return Split(channels, width, middle=middle_width(channels, width, 3, 7), time=3, size=7, stride=(1, 2))


def _block(channels: int, width: int, stride: int) -> BasicBlock:
    return BasicBlock(channels, width, stride, conv=split, norm=nn.BatchNorm3d)


def r2plus1d(*, channels: int = 3) -> R3D:
    """Builds the published encoder: clips of 3 x 16 x 112 x 112, 512 features, 14,365,303 parameters.

    Its shortcuts are split too. `middle_width` also applies to the stem: 83 for three channels.
    """
    return R3D(channels=channels, stem=_stem, block=_block)
