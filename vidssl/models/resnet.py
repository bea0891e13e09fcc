"""ResNet for single frames.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. In the bottleneck the 3x3 convolution
strides, as in torchvision, where the paper's first 1x1 does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vidssl.models.frame import FrameEncoder
from vidssl.models.residual import BasicBlock, Block, begin_he, conv2d, shortcut, stages


def basic(channels: int, width: int, stride: int) -> BasicBlock:
    """Two convolutions 3x3."""
    return BasicBlock(channels, width, stride, conv=conv2d, norm=nn.BatchNorm2d)


class Bottleneck(nn.Module):
    """1x1 down to a quarter of the width, 3x3, 1x1 up to the width, each with batch norm, and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        narrow, relu = width // 4, nn.ReLU(inplace=True)
        self.body = nn.Sequential(
            conv2d(channels, narrow, 1, 1),
            nn.BatchNorm2d(narrow),
            relu,
            conv2d(narrow, narrow, 3, stride),
            nn.BatchNorm2d(narrow),
            relu,
            conv2d(narrow, width, 1, 1),
            nn.BatchNorm2d(width),
        )
        self.shortcut = shortcut(channels, width, stride, conv2d, nn.BatchNorm2d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu_(self.body(x) + self.shortcut(x))


class ResNet(FrameEncoder):
    """A stem and four stages; the last three halve height and width.

    widths: channels of the stem and the four stages. blocks: in each stage. channels: of the clips. block: what the
    stages are made of.
    small: a stem 3x3 of stride 2 without pooling, which divides by 16 in all; else 7x7 of stride 2 and pooling 3x3 / 2:
    by 32 in all.
    made_for: (1, H, W) of the frames it is meant for.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        channels: int = 3,
        block: Block = basic,
        small: bool = False,
        made_for: tuple[int, int, int] = (1, 112, 112),
    ) -> None:
        super().__init__()
        for name, value, count in (("widths", widths, 5), ("blocks", blocks, 4)):
            if len(value) != count or min(value) < 1:
                raise ValueError(
                    f"ResNet: {name}={tuple(value)}: give {count} positive numbers; widths begin with the stem's"
                )
        self.features, self.channels, self.made_for = widths[-1], channels, made_for
        self.minimum = (1, 16, 16) if small else (1, 32, 32)  # what the strides divide by
        stem = [conv2d(channels, widths[0], 3 if small else 7, 2), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem, *([] if small else [nn.MaxPool2d(3, 2, padding=1)]))
        self.stages = stages(widths, blocks, block)
        begin_he(self)

    def frame_map(self, frames: torch.Tensor) -> torch.Tensor:
        """float [N, C, H, W] to [N, D, H/32, W/32]; H/16, W/16 where it is small."""
        out: torch.Tensor = self.stages(self.stem(frames))
        return out


def resnet18(*, channels: int = 3) -> ResNet:
    """ResNet-18: 512 features, 11,176,512 parameters.

    Published on 224 x 224; meant here for 112 x 112, the crops of the 3D encoders, a quarter of the work: frames of the
    usual sets have 240 rows, and a crop that leaves room to vary has fewer. Other sizes work as well.
    """
    return ResNet((64, 64, 128, 256, 512), (2, 2, 2, 2), channels=channels)


def resnet50(*, channels: int = 3) -> ResNet:
    """ResNet-50: 2048 features, 23,508,032 parameters. Meant for 112 x 112, as resnet18."""
    return ResNet((64, 256, 512, 1024, 2048), (3, 4, 6, 3), channels=channels, block=Bottleneck)


def resnet_tiny(*, channels: int = 3) -> ResNet:
    """The same plan, narrow, one block a stage, for frames of 32 to 56 pixels on a CPU: 64 features. Ours."""
    return ResNet((16, 16, 24, 32, 64), (1, 1, 1, 1), channels=channels, small=True, made_for=(1, 56, 56))
