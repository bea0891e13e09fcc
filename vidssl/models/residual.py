"""What the residual encoders share, for frames and for clips: a block, a row of stages, how weights begin.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

# channels in, channels out, size of the kernel, stride; pads to keep the size
Conv = Callable[[int, int, int, int], nn.Module]
Norm = Callable[[int], nn.Module]  # channels
Block = Callable[[int, int, int], nn.Module]  # channels in, channels out, stride


def conv2d(channels: int, width: int, size: int, stride: int) -> nn.Conv2d:
    """A convolution over height and width that batch norm follows: hence without bias."""
    return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)


def conv3d(channels: int, width: int, size: int, stride: int) -> nn.Conv3d:
    """A convolution over time, height and width that batch norm follows: hence without bias."""
    return nn.Conv3d(channels, width, size, stride, padding=size // 2, bias=False)


def shortcut(channels: int, width: int, stride: int, conv: Conv, norm: Norm) -> nn.Module:
    """The way around a block: nothing where its shape stays, else a convolution of one pixel with batch norm."""
    if stride == 1 and channels == width:
        return nn.Identity()
    return nn.Sequential(conv(channels, width, 1, stride), norm(width))


class BasicBlock(nn.Module):
    """Two convolutions of size 3 with batch norm, and a shortcut. The first one strides; `around` is the shortcut's,
    else as the others.
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
    """`blocks[i]` blocks from `widths[i]` to `widths[i + 1]` channels; the first block of every stage but the first
    strides by two.
    """
    row = []
    for stage, count in enumerate(blocks):
        row.append(block(widths[stage], widths[stage + 1], 2 if stage else 1))
        row.extend(block(widths[stage + 1], widths[stage + 1], 1) for _ in range(1, count))
    return nn.Sequential(*row)


def begin_he(module: nn.Module) -> None:
    """Weights of convolutions and dense layers as He et al. 2015 begin them: normal, variance 2 / inputs of a sum;
    biases 0.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
