"""The block that the residual encoders share, and how their weights begin."""

import pytest
import torch
from torch import nn

from vidssl.models.residual import BasicBlock, begin_he, conv2d, conv3d, stages


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_a_block_computes_what_the_paper_says() -> None:
    block = BasicBlock(4, 6, 2, conv=conv2d, norm=nn.BatchNorm2d).eval()
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        inner = torch.relu(block.bn1(nn.functional.conv2d(x, block.conv1.weight, stride=2, padding=1)))
        inner = block.bn2(nn.functional.conv2d(inner, block.conv2.weight, padding=1))
        around = block.shortcut[1](nn.functional.conv2d(x, block.shortcut[0].weight, stride=2))
        torch.testing.assert_close(block(x), torch.relu(inner + around))


def test_where_the_shape_stays_the_shortcut_is_nothing() -> None:
    for channels, width, stride, same in ((4, 4, 1, True), (4, 6, 1, False), (4, 4, 2, False)):
        block = BasicBlock(channels, width, stride, conv=conv3d, norm=nn.BatchNorm3d)
        assert isinstance(block.shortcut, nn.Identity) == same


def test_stages_stride_once_each_but_the_first() -> None:
    asked: list[tuple[int, int, int]] = []

    def block(channels: int, width: int, stride: int) -> nn.Module:
        asked.append((channels, width, stride))
        return nn.Identity()

    stages((1, 2, 3), (1, 3), block)
    assert asked == [(1, 2, 1), (2, 3, 2), (3, 3, 1), (3, 3, 1)]


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [(nn.Conv2d(96, 256, 5, groups=2), 48 * 25), (nn.Conv3d(32, 64, 3), 32 * 27), (nn.Linear(500, 400), 500)],
)
def test_weights_begin_as_he_et_al_do(layer: nn.Conv2d | nn.Conv3d | nn.Linear, inputs: int) -> None:
    begin_he(layer)
    assert layer.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.02)
    assert layer.weight.mean().abs() < 0.02 * layer.weight.std()
    assert layer.bias is not None
    assert not layer.bias.any()
