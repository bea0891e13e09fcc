"""R3D-18 and R(2+1)D-18: the 3D ResNets with two basic blocks per stage.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, as in
torchvision's `r3d_18` and `r2plus1d_18`.
"""

from __future__ import annotations

from torch import nn

from vidssl.models.r2plus1d import Split, middle_width
from vidssl.models.r3d import R3D
from vidssl.models.residual import BasicBlock, begin_he, conv3d


def _split_stem(channels: int, width: int) -> Split:
    return Split(channels, width, middle=45, time=3, size=7, stride=(1, 2))  # 45 as in torchvision, not by middle_width


def _split_block(channels: int, width: int, stride: int) -> BasicBlock:
    """Both convolutions have the middle width of the first one; the shortcut's convolution is not split."""
    middle = middle_width(channels, width, 3, 3)

    def split(channels: int, width: int, size: int, stride: int) -> Split:
        return Split(channels, width, middle=middle, time=size, size=size, stride=(stride, stride))

    return BasicBlock(channels, width, stride, conv=split, norm=nn.BatchNorm3d, around=conv3d)


def r3d_18(*, channels: int = 3) -> R3D:
    """Builds R3D-18: clips of 3 x 16 x 112 x 112, 512 features, 33,166,272 parameters."""
    encoder = R3D(channels=channels, blocks=2)
    begin_he(encoder)
    return encoder


def r2plus1d_18(*, channels: int = 3) -> R3D:
    """Builds R(2+1)D-18: clips of 3 x 16 x 112 x 112, 512 features, 31,300,125 parameters."""
    encoder = R3D(channels=channels, blocks=2, stem=_split_stem, block=_split_block)
    begin_he(encoder)
    return encoder
