"""What the residual encoders of frames and of clips share: a block, a sequence of stages, and initial weights.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

# input channels, output channels, kernel size, stride; pads to keep the size
Conv = Callable[[int, int, int, int], nn.Module]
Norm = Callable[[int], nn.Module]  # channels
Block = Callable[[int, int, int], nn.Module]  # input channels, output channels, stride


def conv2d(channels: int, width: int, size: int, stride: int) -> nn.Conv2d:
    """Builds a convolution over height and width; without bias, since batch norm follows it."""
    return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)


def conv3d(channels: int, width: int, size: int, stride: int) -> nn.Conv3d:
    """Builds a convolution over time, height and width; without bias, since batch norm follows it."""
    return nn.Conv3d(channels, width, size, stride, padding=size // 2, bias=False)


def shortcut(channels: int, width: int, stride: int, conv: Conv, norm: Norm) -> nn.Module:
    """Builds the path around a block: the identity if the block keeps the shape, else a convolution with kernel size 1
    and batch norm.
    """
    if stride == 1 and channels == width:
        return nn.Identity()
    return nn.Sequential(conv(channels, width, 1, stride), norm(width))


class BasicBlock(nn.Module):
    """Two convolutions of kernel size 3 with batch norm, and a shortcut. The first convolution has the stride.

    Args:
        channels: Input channels.
        width: Output channels.
        stride: Stride of the first convolution and of the shortcut.
        conv: Builds a convolution.
        norm: Builds a norm layer.
        around: Builds the convolution of the shortcut; by default `conv`.
    """

    def __init__(
        self, channels: int, width: int, stride: int, *, conv: Conv, norm: Norm, around: Conv | None = None
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(channels, width, 3, stride), norm(width)
        self.conv2, self.bn2 = conv(width, width, 3, 1), norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut(channels, width, stride, around or conv, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: torch.Tensor = self.relu(y + self.shortcut(x))
        return out


def stages(widths: Sequence[int], blocks: Sequence[int], block: Block) -> nn.Sequential:
    """Builds a sequence of stages. Every stage except the first starts with a block of stride 2.

    Args:
        widths: Input channels of the first stage, then output channels of each stage.
        blocks: Number of blocks in each stage.
        block: Builds a block.

    Returns:
        All blocks in one sequence.
    """
    row = []
    for stage, count in enumerate(blocks):
        row.append(block(widths[stage], widths[stage + 1], 2 if stage else 1))
        row.extend(block(widths[stage + 1], widths[stage + 1], 1) for _ in range(1, count))
    return nn.Sequential(*row)


def begin_he(module: nn.Module) -> None:
    """Initialises convolutions and dense layers as in He et al. 2015, in place.

    Weights are normal with a variance of 2 / (inputs of one output); biases are 0.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
