"""ResNets of single frames against the published numbers, which count a classifier of 1000 classes too."""

import pytest
import torch
from torch import nn

from vidssl.models import ResNet, resnet18, resnet50, resnet_tiny
from vidssl.models.resnet import Bottleneck


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_the_published_ones() -> None:
    with torch.device("meta"):  # shapes, no numbers
        assert parameters(resnet18()) == 11_176_512 == 11_689_512 - (512 * 1000 + 1000)
        assert parameters(resnet50()) == 23_508_032 == 25_557_032 - (2048 * 1000 + 1000)


def test_last_maps() -> None:
    with torch.device("meta"):
        assert resnet18().forward_map(torch.zeros(1, 3, 1, 224, 224)).shape == (1, 512, 1, 7, 7)
        assert resnet50().forward_map(torch.zeros(1, 3, 1, 64, 96)).shape == (1, 2048, 1, 2, 3)
        assert resnet_tiny().forward_map(torch.zeros(1, 3, 1, 56, 56)).shape == (1, 64, 1, 4, 4)
        assert resnet_tiny().forward_map(torch.zeros(1, 3, 1, 32, 32)).shape == (1, 64, 1, 2, 2)


def test_plan_of_resnet50() -> None:
    with torch.device("meta"):
        encoder = resnet50()
    assert all(isinstance(block, Bottleneck) for block in encoder.stages)
    convs = [[part for part in block.body if isinstance(part, nn.Conv2d)] for block in encoder.stages]
    assert [row[1].out_channels for row in convs] == [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    assert [row[2].out_channels for row in convs] == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    strided = [at for at, row in enumerate(convs) if row[1].stride == (2, 2)]  # the 3x3 strides, never a 1x1
    assert strided == [3, 7, 13]
    assert {row[at].stride for row in convs for at in (0, 2)} == {(1, 1)}


def test_a_bottleneck_is_the_sum_of_its_two_ways() -> None:
    block = Bottleneck(8, 8, 1).eval()
    x = torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(block(x), torch.relu(x + block.body(x)))


def test_a_frame_is_seen_by_itself() -> None:
    """In eval mode a frame's features don't depend on the others of its batch."""
    encoder = resnet_tiny().eval()
    clips = torch.rand(3, 3, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clips)[1:2], encoder(clips[1:2]))


def test_the_tiny_one_learns_frames_by_heart() -> None:
    """Sixteen pictures of noise, a class each, in forty steps: forward, backward and the first weights are in order."""
    encoder, classify = resnet_tiny(), nn.Linear(64, 16)
    clips, label = torch.rand(16, 3, 1, 32, 32), torch.arange(16)
    optimizer = torch.optim.SGD([*encoder.parameters(), *classify.parameters()], lr=0.05, momentum=0.9)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(classify(encoder(clips)), label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.0
    assert losses[-1] < 0.2


@pytest.mark.parametrize(
    ("widths", "blocks", "named"),
    [
        ((8, 8, 8), (1, 1, 1, 1), r"widths=\(8, 8, 8\): give 5 positive numbers: channels"),
        ((8,) * 5, (1, 1, 1, 0), "blocks=.*4 positive"),
    ],
)
def test_wrong_plans_are_named(widths: tuple[int, ...], blocks: tuple[int, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ResNet(widths, blocks)
