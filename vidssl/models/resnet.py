"""ResNet for single frames.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. In a bottleneck the 3x3 convolution has
the stride, as in torchvision; in the paper the first 1x1 convolution has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vidssl.models.frame import FrameEncoder
from vidssl.models.residual import BasicBlock, Block, begin_he, conv2d, shortcut, stages


def basic(channels: int, width: int, stride: int) -> BasicBlock:
    """Builds a block of two 3x3 convolutions."""
    return BasicBlock(channels, width, stride, conv=conv2d, norm=nn.BatchNorm2d)


class Bottleneck(nn.Module):
    """Three convolutions with batch norm, and a shortcut: 1x1 to a quarter of the width, 3x3, and 1x1 to the width.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Stride of the 3x3 convolution and of the shortcut.
    """

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

    Args:
        widths: Channels of the stem and of the four stages.
        blocks: Number of blocks in each of the four stages.
        channels: Number of channels of the clips.
        block: Builds a block.
        small: The stem is a 3x3 convolution of stride 2 without pooling, and the encoder divides height and width by
            16. If False, the stem is a 7x7 convolution of stride 2 and 3x3 pooling of stride 2, and it divides by 32.
        made_for: (1, H, W) of the frames that the encoder is designed for, in pixels.

    Raises:
        ValueError: widths is not five positive numbers, or blocks is not four.
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
        wanted = (
            ("widths", widths, 5, "channels of the stem and of the four stages"),
            ("blocks", blocks, 4, "blocks in each stage"),
        )
        for name, value, count, meaning in wanted:
            if len(value) != count or min(value) < 1:
                raise ValueError(f"ResNet: {name}={tuple(value)}: give {count} positive numbers: {meaning}")
        self.features, self.channels, self.made_for = widths[-1], channels, made_for
        self.minimum = (1, 16, 16) if small else (1, 32, 32)  # what the strides divide by
        stem = [conv2d(channels, widths[0], 3 if small else 7, 2), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem, *([] if small else [nn.MaxPool2d(3, 2, padding=1)]))
        self.stages = stages(widths, blocks, block)
        self.layer_names = ("stem", *(f"stages.{at}" for at in range(len(self.stages))))
        begin_he(self)

    def frame_map(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            frames: float [N, C, H, W].

        Returns:
            float [N, D, H/32, W/32]; [N, D, H/16, W/16] with a small stem.
        """
        out: torch.Tensor = self.stages(self.stem(frames))
        return out


def resnet18(*, channels: int = 3) -> ResNet:
    """Builds ResNet-18: 512 features, 11,176,512 parameters.

    It was published for 224 x 224. Here it is designed for 112 x 112, the crop size of the 3D encoders, which takes a
    quarter of the computation. Frames of common datasets have 240 rows, and random crops must be smaller than that.
    Other sizes work too.
    """
    return ResNet((64, 64, 128, 256, 512), (2, 2, 2, 2), channels=channels)


def resnet50(*, channels: int = 3) -> ResNet:
    """Builds ResNet-50: 2048 features, 23,508,032 parameters. It is designed for 112 x 112, like `resnet18`."""
    return ResNet((64, 256, 512, 1024, 2048), (3, 4, 6, 3), channels=channels, block=Bottleneck)


def resnet_tiny(*, channels: int = 3) -> ResNet:
    """Builds a narrow ResNet of our own, one block per stage, for frames of 32 to 56 pixels on a CPU: 64 features."""
    return ResNet((16, 16, 24, 32, 64), (1, 1, 1, 1), channels=channels, small=True, made_for=(1, 56, 56))
