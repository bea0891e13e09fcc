"""R3D-18 and R(2+1)D-18 against torchvision's, which have 33,371,472 and 31,505,325 parameters with 400 classes."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from vidssl.models import ENCODERS, r2plus1d_18, r3d_18
from vidssl.models.r2plus1d import Split

CLASSIFIER = 512 * 400 + 400


@pytest.fixture(autouse=True)
def _shapes_only() -> Iterator[None]:
    """Everything here is on torch's meta device, which knows shapes and no numbers."""
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(("name", "published"), [("r3d_18", 33_371_472), ("r2plus1d_18", 31_505_325)])
def test_parameters_are_the_published_ones(name: str, published: int) -> None:
    encoder = ENCODERS[name]()
    assert sum(p.numel() for p in encoder.parameters()) == published - CLASSIFIER
    assert {"r3d_18": 33_166_272, "r2plus1d_18": 31_300_125}[name] == published - CLASSIFIER


@pytest.mark.parametrize("name", ["r3d_18", "r2plus1d_18"])
def test_last_map_is_an_eighth_and_sixteenths(name: str) -> None:
    encoder = ENCODERS[name]()
    assert encoder.forward_map(torch.zeros(1, 3, 16, 32, 48)).shape == (1, 512, 2, 2, 3)


def test_plan_of_r3d_18() -> None:
    encoder = r3d_18()
    stem = encoder.stem[0]
    assert (stem.out_channels, stem.kernel_size, stem.stride, stem.padding) == (64, (3, 7, 7), (1, 2, 2), (1, 3, 3))
    convs = [(block.conv1, block.conv2) for block in encoder.stages]
    assert [(a.in_channels, b.out_channels) for a, b in convs] == [
        (64, 64),
        (64, 64),
        (64, 128),
        (128, 128),
        (128, 256),
        (256, 256),
        (256, 512),
        (512, 512),
    ]
    assert [a.stride[0] for a, _ in convs] == [1, 1, 2, 1, 2, 1, 2, 1]
    assert [type(block.shortcut) is nn.Identity for block in encoder.stages] == [
        True,
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_middle_widths_of_r2plus1d_18() -> None:
    """One a block, of its first convolution; 45 in the stem; the shortcuts are whole."""
    encoder = r2plus1d_18()
    assert encoder.stem[0][0].out_channels == 45
    found = [(block.conv1[0].out_channels, block.conv2[0].out_channels) for block in encoder.stages]
    assert found == [(m, m) for m in (144, 144, 230, 288, 460, 576, 921, 1152)]
    assert not [part for block in encoder.stages for part in block.shortcut.modules() if isinstance(part, Split)]
