"""CaffeNet as Shuffle and Learn and OPN train it, and the AlexNet of O3N: five convolutions, then dense layers.

Sources: Misra et al., "Shuffle and Learn: Unsupervised Learning using Temporal Order Verification", ECCV 2016; Lee et
al., "Unsupervised Representation Learning by Sorting Sequences", ICCV 2017, each with the authors' code; Fernando et
al., "Self-Supervised Video Representation Learning With Odd-One-Out Networks", CVPR 2017. The architecture is from
Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from vidssl.models.frame import FrameEncoder
from vidssl.models.norm import CaffeBatchNorm1d, CaffeBatchNorm2d
from vidssl.models.residual import begin_he

# Output channels, kernel size, stride, padding and groups of conv1 .. conv5.
CONVS = ((96, 11, 4, 0, 1), (256, 5, 1, 2, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2))
SMALLEST = 55  # rows or columns; in a smaller frame a pooling window is larger than its map


def pool5_size(pixels: int) -> int:
    """Computes the size of pool5. The last pooling window may extend over the edge of the map, as in Caffe.

    Args:
        pixels: Rows, or columns, of the frame.

    Returns:
        Rows, or columns, of pool5: 6 for 227, 2 for 80.
    """
    rows = (pixels - 11) // 4 + 1
    for _ in range(3):
        rows = -(-(rows - 3) // 2) + 1
    return rows


def _convs(channels: int, *, norm_first: bool, batch_norm: bool, affine: bool) -> nn.Sequential:
    """Builds the layers from conv1 to pool5, under Caffe's names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for at, (width, size, stride, padding, groups) in enumerate(CONVS, start=1):
        layers[f"conv{at}"] = nn.Conv2d(channels, width, size, stride, padding, groups=groups)
        if batch_norm and at > 2:
            layers[f"bn{at}"] = CaffeBatchNorm2d(width, affine=affine)
        layers[f"relu{at}"] = nn.ReLU(inplace=True)
        tail: list[tuple[str, nn.Module]] = (
            [(f"pool{at}", nn.MaxPool2d(3, 2, ceil_mode=True))] if at in (1, 2, 5) else []
        )
        if at <= 2:  # Caffe and torch divide alpha by the five channels; TensorFlow does not: its 2e-5 equals this 1e-4
            tail.append((f"norm{at}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)))
        layers.update(reversed(tail) if norm_first else tail)
        channels = width
    return nn.Sequential(layers)


def sizes_like(pixels: int) -> tuple[int, int]:
    """Returns the smallest and the largest number of rows (or columns) that give the same pool5 as `pixels` do.

    Args:
        pixels: Rows, or columns, of the frame.

    Returns:
        (199, 230) for 224 and 227, (71, 102) for 80.
    """
    least = most = pixels
    while least > SMALLEST and pool5_size(least - 1) == pool5_size(pixels):
        least -= 1
    while pool5_size(most + 1) == pool5_size(pixels):
        most += 1
    return least, most


class CaffeNet(FrameEncoder):
    """Five convolutions, then dense layers.

    Pooling and local response norm follow the first two convolutions; pooling follows the fifth. The last map is pool5;
    the features are the output of the last dense layer. Weights are initialised from a normal distribution with a
    standard deviation of 0.01 in convolutions and of 0.005 in dense layers.

    Args:
        size: (H, W) of the frames in pixels that the encoder is designed for. It fixes the size of pool5, so that
            other sizes with the same pool5 fit too (`sizes_like`).
        dense: Outputs of each dense layer.
        channels: Number of channels of the clips.
        norm_first: Local response norm comes before pooling, as in AlexNet; if False, after it, as in CaffeNet.
        batch_norm: Adds Caffe's batch norm to conv3, conv4, conv5 and the dense layers.
        affine: Batch norm has a scale and a shift.
        dropout: Dropout probability after each dense layer.
        conv_bias: Initial biases of conv1 .. conv5. The biases of dense layers start at 1.

    Raises:
        ValueError: The size is below 55 x 55, dense is empty or not positive, or conv_bias has not five numbers.
    """

    def __init__(
        self,
        size: tuple[int, int],
        dense: Sequence[int],
        *,
        channels: int = 3,
        norm_first: bool = False,
        batch_norm: bool = True,
        affine: bool = True,
        dropout: float = 0.5,
        conv_bias: Sequence[float] = (0, 0, 0, 0, 0),
    ) -> None:
        super().__init__()
        if min(size) < SMALLEST:
            raise ValueError(f"CaffeNet: size={tuple(size)}: give at least {SMALLEST} x {SMALLEST} pixels")
        if len(conv_bias) != len(CONVS):
            raise ValueError(f"CaffeNet: conv_bias={tuple(conv_bias)}: give {len(CONVS)} numbers, one per convolution")
        if not dense or min(dense) < 1:
            raise ValueError(
                f"CaffeNet: dense={tuple(dense)}: give at least one number, all positive: outputs of each dense layer"
            )
        self.features, self.channels = dense[-1], channels
        rows, columns = map(sizes_like, size)
        self.made_for, self.minimum, self.maximum = (1, *size), (1, rows[0], columns[0]), (1, rows[1], columns[1])
        self.convs = _convs(channels, norm_first=norm_first, batch_norm=batch_norm, affine=affine)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = CONVS[-1][0] * pool5_size(size[0]) * pool5_size(size[1])
        for at, width in enumerate(dense, start=6):
            layers[f"fc{at}"] = nn.Linear(inputs, width)
            if batch_norm:
                layers[f"bn{at}"] = CaffeBatchNorm1d(width, affine=affine)
            layers[f"relu{at}"] = nn.ReLU(inplace=True)
            layers[f"drop{at}"] = nn.Dropout(dropout)
            inputs = width
        self.dense = nn.Sequential(layers)
        pairs = [*((f"convs.conv{at}", f"convs.bn{at}") for at in range(1, len(CONVS) + 1))]
        pairs += ((f"dense.fc{at}", f"dense.bn{at}") for at in range(6, 6 + len(dense)))
        weighted = {name.rpartition(".")[0] for name, _ in self.named_parameters()}  # norms may have no weights
        self.layer_names = tuple(tuple(part for part in layer if part in weighted) for layer in pairs)
        parts = [part for part in self.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
        for part, bias in zip(parts, [*conv_bias, *[1.0] * len(dense)], strict=True):
            nn.init.normal_(part.weight, std=0.01 if isinstance(part, nn.Conv2d) else 0.005)
            part.bias = nn.Parameter(torch.full((part.weight.shape[0],), float(bias)))

    def frame_map(self, frames: torch.Tensor) -> torch.Tensor:
        """Computes pool5. Unlike `forward`, it takes frames of any size from 55 x 55 up.

        Args:
            frames: float [N, C, H, W].

        Returns:
            float [N, 256, h, w], with h and w as `pool5_size` computes them.
        """
        out: torch.Tensor = self.convs(frames)
        return out

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the features: the output of the last dense layer.

        Args:
            clips: float [N, C, 1, H, W].

        Returns:
            float [N, D].

        Raises:
            ValueError: The frames give another pool5 than the first dense layer takes.
        """
        ranges = list(zip(self.minimum, self.maximum, strict=True))
        if not all(
            least <= have <= (most or have) for have, (least, most) in zip(clips.shape[2:], ranges, strict=True)
        ):
            takes = ", ".join(str(least) if least == most else f"{least} to {most}" for least, most in ranges)
            raise ValueError(f"clips: shape {tuple(clips.shape)}: this encoder takes [N, C, {takes}]")
        out: torch.Tensor = self.dense(self.forward_map(clips).flatten(1))
        return out


def caffenet(*, channels: int = 3) -> CaffeNet:
    """Builds the encoder of Shuffle and Learn: frames of 227 x 227, pool5 of 9216 numbers, 4096 features (fc7).

    Batch norm has no scale and no shift.
    """
    return CaffeNet((227, 227), (4096, 4096), channels=channels, affine=False, conv_bias=(0, 1, 0, 1, 1))


def caffenet_opn(*, channels: int = 3) -> CaffeNet:
    """Builds the encoder of OPN: frames of 80 x 80, pool5 of 1024 numbers, 1024 features (fc6).

    Batch norm has a scale and a shift. fc7 belongs to the head of OPN.
    """
    return CaffeNet((80, 80), (1024,), channels=channels)


def caffenet_opn_full(*, channels: int = 3) -> CaffeNet:
    """Builds the encoder to which the convolutions of `caffenet_opn` are transferred for whole frames: 4096 features
    (fc7).

    Frames have 224 x 224 pixels, as in the authors' network for testing (deploy_RGB.prototxt, which ends with pool5);
    227 x 227, the size of CaffeNet, gives the same pool5. The dense layers are CaffeNet's. We keep OPN's batch norm;
    whether the authors did is not published.
    """
    return CaffeNet((224, 224), (4096, 4096), channels=channels)


def alexnet_o3n(*, channels: int = 3) -> CaffeNet:
    """Builds the encoder of O3N: AlexNet up to its first dense layer, frames of 227 x 227, 128 features.

    Stacks of differences have 15 channels. The paper does not specify the following, so these are our choices: no batch
    norm, no dropout, ReLU after the dense layer, and weights initialised as in He et al. 2015. Without batch norm,
    AlexNet's own standard deviation of 0.01 would make the activations vanish.
    """
    encoder = CaffeNet((227, 227), (128,), channels=channels, norm_first=True, batch_norm=False, dropout=0.0)
    begin_he(encoder)
    return encoder
