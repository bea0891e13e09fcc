"""R(2+1)D as VCOP trains it: R3D with every convolution split into one over the picture and one over time.

Source: as R3D: Xu et al., CVPR 2019, and the authors' code; Tran et al., CVPR 2018, for the split.
"""

from __future__ import annotations

from torch import nn

from vidssl.models.r3d import R3D
from vidssl.models.residual import BasicBlock


def middle_width(channels: int, width: int, time: int, size: int) -> int:
    """Channels between the two halves, so that both together have the parameters of one time x size x size convolution,
    rounded down.
    """
    return time * size**2 * channels * width // (size**2 * channels + time * width)


class Split(nn.Sequential):
    """1 x size x size, batch norm, ReLU, time x 1 x 1; each half takes its own strides. Pads to keep the size."""

    def __init__(
        self, channels: int, width: int, *, middle: int, time: int, size: int, stride: tuple[int, int]
    ) -> None:
        """stride: of time, and of height and width."""
        super().__init__(
            nn.Conv3d(
                channels, middle, (1, size, size), (1, stride[1], stride[1]), (0, size // 2, size // 2), bias=False
            ),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, width, (time, 1, 1), (stride[0], 1, 1), (time // 2, 0, 0), bias=False),
        )


def split(channels: int, width: int, size: int, stride: int) -> Split:
    """A cubic convolution in two halves, its middle width from its own channels."""
    middle = middle_width(channels, width, size, size)
    return Split(channels, width, middle=middle, time=size, size=size, stride=(stride, stride))


def _stem(channels: int, width: int) -> Split:
    return Split(channels, width, middle=middle_width(channels, width, 3, 7), time=3, size=7, stride=(1, 2))


def _block(channels: int, width: int, stride: int) -> BasicBlock:
    return BasicBlock(channels, width, stride, conv=split, norm=nn.BatchNorm3d)


def r2plus1d(*, channels: int = 3) -> R3D:
    """The published encoder: clips 3 x 16 x 112 x 112, 512 features, 14,365,303 parameters. Its shortcuts are split
    too, and the stem's middle width is 83 for three channels, by the same formula.
    """
    return R3D(channels=channels, stem=_stem, block=_block)
