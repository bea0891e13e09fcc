"""C3D against the numbers of the published encoder."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from vidssl.models import c3d


@pytest.fixture(autouse=True)
def _shapes_only() -> Iterator[None]:
    """Everything here is on torch's meta device, which knows shapes and no numbers."""
    with torch.device("meta"):
        yield


def test_parameters_and_last_map_are_the_published_ones() -> None:
    encoder = c3d()
    assert sum(p.numel() for p in encoder.parameters()) == 27_661_440
    last = encoder.forward_map(torch.zeros(1, 3, 16, 112, 112))
    assert last.shape == (1, 512, 2, 7, 7)


def test_plan_is_the_published_one() -> None:
    layers = list(c3d().layers)
    convs = [layer for layer in layers if isinstance(layer, nn.Conv3d)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256, 256, 512, 512, 512, 512]
    assert all(conv.bias is not None and conv.kernel_size == (3, 3, 3) for conv in convs)
    assert [layer.kernel_size for layer in layers if isinstance(layer, nn.MaxPool3d)] == [(1, 2, 2), 2, 2, 2]
    after = [
        [type(layers[at + 1]), type(layers[at + 2])] for at, layer in enumerate(layers) if isinstance(layer, nn.Conv3d)
    ]
    assert after == [[nn.BatchNorm3d, nn.ReLU]] * 8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_less_than_the_minimum_leaves_nothing(axis: int) -> None:
    encoder = c3d()
    size = list(encoder.minimum)
    size[axis] -= 1
    with pytest.raises(RuntimeError, match="too small"):
        encoder(torch.zeros(1, 3, *size))
