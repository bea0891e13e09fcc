"""R(2+1)D against the numbers of the published encoder."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from vidssl.models import R3D, r2plus1d
from vidssl.models.r2plus1d import Split, middle_width

# Of the stem and of every block; where a block strides its shortcut comes first.
PUBLISHED = [(83,), (144, 144), (42, 230, 288), (85, 460, 576), (170, 921, 1152)]


@pytest.fixture(autouse=True)
def _shapes_only() -> Iterator[None]:
    """Everything here is on torch's meta device, which knows shapes and no numbers."""
    with torch.device("meta"):
        yield


def splits(part: nn.Module) -> list[Split]:
    return [found for found in part.modules() if isinstance(found, Split)]


def test_parameters_and_last_map_are_the_published_ones() -> None:
    encoder = r2plus1d()
    assert sum(p.numel() for p in encoder.parameters()) == 14_365_303
    last = encoder.forward_map(torch.zeros(1, 3, 16, 112, 112))
    assert last.shape == (1, 512, 2, 7, 7)


def test_middle_widths_are_the_published_ones() -> None:
    encoder = r2plus1d()
    found = [tuple(sorted(split[0].out_channels for split in splits(part))) for part in (encoder.stem, *encoder.stages)]
    assert found == PUBLISHED


def test_middle_width_keeps_the_parameters_and_not_one_more() -> None:
    for channels, width, time, size in (
        (3, 64, 3, 7),
        (64, 64, 3, 3),
        (64, 128, 3, 3),
        (64, 128, 1, 1),
        (512, 512, 3, 3),
    ):
        whole = channels * width * time * size**2
        each = channels * size**2 + width * time  # parameters that one middle channel costs
        assert whole - each < middle_width(channels, width, time, size) * each <= whole


def test_every_convolution_is_over_the_picture_or_over_time() -> None:
    encoder = r2plus1d()
    kernels = {part.kernel_size for part in encoder.modules() if isinstance(part, nn.Conv3d)}
    assert kernels == {(1, 7, 7), (1, 3, 3), (3, 1, 1), (1, 1, 1)}
    assert [type(part) for part in encoder.stages[0].conv1] == [nn.Conv3d, nn.BatchNorm3d, nn.ReLU, nn.Conv3d]
    assert all(isinstance(stage.shortcut[0], Split) for stage in list(encoder.stages)[1:])
    assert isinstance(encoder, R3D)


def test_a_split_takes_its_stride_in_both_halves() -> None:
    split = Split(2, 5, middle=3, time=3, size=7, stride=(2, 4))
    assert split(torch.rand(1, 2, 8, 16, 16)).shape == (1, 5, 4, 4, 4)
    assert (split[0].stride, split[3].stride) == ((1, 4, 4), (2, 1, 1))
