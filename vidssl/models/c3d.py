"""C3D as VCOP trains it: with batch norm after every convolution, and a mean over the last map for the dense layers.

Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the
authors' code. The architecture is from Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks",
ICCV 2015.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from vidssl.models.base import Encoder

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # channels; a pooling layer lies between two stages


class C3D(Encoder):
    """Eight 3x3x3 convolutions with bias, batch norm and ReLU, in five stages with max pooling between them.

    The first pooling layer pools height and width only. The encoder has 27,661,440 parameters for three channels. Clips
    of 16 x 112 x 112 give a last map of 512 x 2 x 7 x 7.

    Args:
        channels: Number of channels of the clips.
    """

    features = 512
    made_for = (16, 112, 112)
    minimum = (8, 16, 16)  # the factors by which pooling divides the size; a smaller clip would leave an empty map

    def __init__(self, *, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = []
        last = channels
        for stage, widths in enumerate(STAGES):
            if stage:
                layers.append(nn.MaxPool3d((1, 2, 2) if stage == 1 else 2))
            for before, width in pairwise((last, *widths)):
                layers += [nn.Conv3d(before, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
            last = widths[-1]
        self.layers = nn.Sequential(*layers)
        convs = [at for at, layer in enumerate(layers) if isinstance(layer, nn.Conv3d)]
        self.layer_names = tuple((f"layers.{at}", f"layers.{at + 1}") for at in convs)  # with their batch norms

    def forward_map(self, clips: torch.Tensor) -> torch.Tensor:
        """Computes the last feature map.

        Args:
            clips: float [N, C, T, H, W].

        Returns:
            float [N, 512, T/8, H/16, W/16].
        """
        out: torch.Tensor = self.layers(clips)
        return out


def c3d(*, channels: int = 3) -> C3D:
    """Builds the published encoder: clips of 3 x 16 x 112 x 112, 512 features, 27,661,440 parameters."""
    return C3D(channels=channels)
