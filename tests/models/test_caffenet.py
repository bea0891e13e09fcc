"""CaffeNet and AlexNet against the published plans."""

from typing import Any

import pytest
import torch
from torch import nn

from vidssl.models import CaffeNet, alexnet_o3n, caffenet, caffenet_opn, caffenet_opn_full
from vidssl.models.caffenet import SMALLEST, pool5_size, sizes_like

CONV1 = ["conv1", "relu1", "pool1", "norm1"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def shuffle_learn() -> CaffeNet:
    torch.manual_seed(0)
    return caffenet().eval()


@pytest.fixture(scope="module")
def opn() -> CaffeNet:
    torch.manual_seed(0)
    return caffenet_opn().eval()


@pytest.fixture(scope="module")
def o3n() -> CaffeNet:
    torch.manual_seed(0)
    return alexnet_o3n(channels=15).eval()


def convs(encoder: CaffeNet) -> list[nn.Conv2d]:
    return [part for part in encoder.convs if isinstance(part, nn.Conv2d)]


def norms(encoder: CaffeNet) -> dict[str, nn.Module]:
    parts = {**dict(encoder.convs.named_children()), **dict(encoder.dense.named_children())}
    return {name: part for name, part in parts.items() if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d))}


@pytest.mark.parametrize("name", ["shuffle_learn", "opn"])
def test_convolutions_have_the_published_numbers(name: str, request: pytest.FixtureRequest) -> None:
    """2,334,080 counts weights and biases; the weights alone are 2,332,704."""
    layers = convs(request.getfixturevalue(name))
    assert sum(layer.weight.numel() + layer.bias.numel() for layer in layers if layer.bias is not None) == 2_334_080
    assert sum(layer.weight.numel() for layer in layers) == 2_332_704
    assert [layer.groups for layer in layers] == [1, 2, 1, 2, 2]
    assert [layer.out_channels for layer in layers] == [96, 256, 384, 384, 256]
    assert [layer.kernel_size[0] for layer in layers] == [11, 5, 3, 3, 3]


def test_dense_layers_have_the_published_numbers(shuffle_learn: CaffeNet, opn: CaffeNet, o3n: CaffeNet) -> None:
    found = [
        [part.weight.shape for part in net.dense if isinstance(part, nn.Linear)] for net in (shuffle_learn, opn, o3n)
    ]
    assert found == [[(4096, 9216), (4096, 4096)], [(1024, 1024)], [(128, 9216)]]
    assert [net.features for net in (shuffle_learn, opn, o3n)] == [4096, 1024, 128]


def test_pool5_has_the_published_numbers(shuffle_learn: CaffeNet, opn: CaffeNet) -> None:
    with torch.no_grad():
        assert shuffle_learn.forward_map(torch.zeros(1, 3, 1, 227, 227)).shape == (1, 256, 1, 6, 6)  # 9216
        assert opn.forward_map(torch.zeros(1, 3, 1, 80, 80)).shape == (1, 256, 1, 2, 2)  # 1024


def test_pools_that_round_down_would_lose_three_quarters_of_an_opn_frame() -> None:
    """256 numbers in 1024's stead; at 227 both ways of rounding agree, so only the small frame tells."""
    rounded_down = caffenet_opn().eval()
    for part in rounded_down.convs:
        if isinstance(part, nn.MaxPool2d):
            part.ceil_mode = False
    with torch.no_grad():
        assert rounded_down.forward_map(torch.zeros(1, 3, 1, 80, 80)).numel() == 256
        assert rounded_down.forward_map(torch.zeros(1, 3, 1, 227, 227)).numel() == 9216


@pytest.mark.parametrize("pixels", [SMALLEST, 80, 100, 113, 227])
def test_size_of_pool5_is_what_the_layers_give(pixels: int, opn: CaffeNet) -> None:
    with torch.no_grad():
        assert opn.frame_map(torch.zeros(1, 3, pixels, pixels)).shape[-1] == pool5_size(pixels)


def test_order_of_the_layers(shuffle_learn: CaffeNet, opn: CaffeNet, o3n: CaffeNet) -> None:
    """CaffeNet pools, then norms; AlexNet the other way round."""
    for net in (shuffle_learn, opn):
        assert [name for name, _ in net.convs.named_children()] == [
            *CONV1,
            "conv2",
            "relu2",
            "pool2",
            "norm2",
            "conv3",
            "bn3",
            "relu3",
            "conv4",
            "bn4",
            "relu4",
            "conv5",
            "bn5",
            "relu5",
            "pool5",
        ]
    assert [name for name, _ in o3n.convs.named_children()] == [
        "conv1",
        "relu1",
        "norm1",
        "pool1",
        "conv2",
        "relu2",
        "norm2",
        "pool2",
        "conv3",
        "relu3",
        "conv4",
        "relu4",
        "conv5",
        "relu5",
        "pool5",
    ]
    both = ["fc6", "bn6", "relu6", "drop6", "fc7", "bn7", "relu7", "drop7"]
    assert [name for name, _ in shuffle_learn.dense.named_children()] == both
    assert [name for name, _ in opn.dense.named_children()] == both[:4]
    assert {net.dense.drop6.p for net in (shuffle_learn, opn)} == {0.5}


def test_batch_norm_has_a_scale_in_opn_only(shuffle_learn: CaffeNet, opn: CaffeNet, o3n: CaffeNet) -> None:
    assert list(norms(shuffle_learn)) == ["bn3", "bn4", "bn5", "bn6", "bn7"]
    assert list(norms(opn)) == ["bn3", "bn4", "bn5", "bn6"]
    assert list(norms(o3n)) == []
    assert all(not list(part.parameters()) for part in norms(shuffle_learn).values())
    assert all(len(list(part.parameters())) == 2 for part in norms(opn).values())


def test_weights_begin_as_published(shuffle_learn: CaffeNet, opn: CaffeNet) -> None:
    for net, biases in ((shuffle_learn, [0, 1, 0, 1, 1]), (opn, [0, 0, 0, 0, 0])):
        for layer, bias in zip(convs(net), biases, strict=True):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)
            assert layer.bias is not None
            assert (layer.bias == bias).all()
        for part in net.dense:
            if isinstance(part, nn.Linear):
                assert part.weight.std().item() == pytest.approx(0.005, rel=0.01)
                assert (part.bias == 1).all()


def test_local_response_norm_is_caffes_and_tensorflows(shuffle_learn: CaffeNet, o3n: CaffeNet) -> None:
    """x / (1 + 2e-5 * sum of five squares)^0.75. Caffe says alpha 1e-4, which it divides by n = 5; TensorFlow radius 2
    and alpha 2e-5.
    """
    x = 100 * torch.randn(1, 96, 2, 2)
    squares = nn.functional.pad(x.square(), (0, 0, 0, 0, 2, 2))
    wanted = x / (1 + 2e-5 * sum(squares[:, i : i + 96] for i in range(5))) ** 0.75
    assert (wanted / x).min() < 0.7  # the numbers are large enough for alpha to count
    for net in (shuffle_learn, o3n):
        torch.testing.assert_close(net.convs.norm1(x), wanted)
        torch.testing.assert_close(net.convs.norm2(x), wanted)


def test_o3ns_features_differ_from_picture_to_picture(o3n: CaffeNet) -> None:
    """Why its weights don't begin as AlexNet's do: without batch norm a deviation of 0.01 leaves nearly the same
    feature for all.
    """
    plain = CaffeNet(
        (227, 227), (128,), channels=15, norm_first=True, batch_norm=False, conv_bias=(0, 1, 0, 1, 1)
    ).eval()
    pictures = nn.functional.interpolate(torch.rand(6, 15, 12, 12) - 0.5, size=(227, 227), mode="bilinear").unsqueeze(2)
    with torch.no_grad():
        spread = [
            (features.std(0).mean() / features.abs().mean()).item() for features in (o3n(pictures), plain(pictures))
        ]
    assert spread[0] > 0.1
    assert spread[1] < 0.01


def test_a_map_of_any_size_but_features_of_one(opn: CaffeNet) -> None:
    frames = torch.zeros(1, 3, 1, 112, 96)
    with torch.no_grad():
        assert opn.forward_map(frames).shape == (1, 256, 1, 3, 2)
    takes = r"\[N, C, 1, 71 to 102, 71 to 102\]"
    with pytest.raises(ValueError, match=rf"clips: shape \(1, 3, 1, 112, 96\): this encoder takes {takes}"):
        opn(frames)


def test_sizes_with_the_same_pool5_fit(opn: CaffeNet) -> None:
    assert (sizes_like(80), sizes_like(224), sizes_like(227), sizes_like(55)) == (
        (71, 102),
        (199, 230),
        (199, 230),
        (55, 70),
    )
    for low, high in (sizes_like(80), sizes_like(227)):
        assert len({pool5_size(pixels) for pixels in range(low, high + 1)}) == 1
        assert pool5_size(low - 1) < pool5_size(low) < pool5_size(high + 1)
    with torch.no_grad():
        assert opn(torch.zeros(1, 3, 1, 102, 71)).shape == (1, 1024)
    with pytest.raises(ValueError, match="71 to 102"):
        opn(torch.zeros(1, 3, 1, 103, 80))


def test_convolutions_of_opn_fit_whole_frames() -> None:
    """224 x 224 is the input of the authors' deploy_RGB.prototxt; 227 x 227 has the same pool5."""
    with torch.device("meta"):
        patch, full = caffenet_opn(), caffenet_opn_full().eval()
        assert full(torch.empty(1, 3, 1, 224, 224)).shape == full(torch.empty(1, 3, 1, 227, 227)).shape == (1, 4096)
    shapes = [{name: value.shape for name, value in net.convs.state_dict().items()} for net in (patch, full)]
    assert shapes[0] == shapes[1]
    assert full.made_for == (1, 224, 224)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"size": (80, 54)}, r"size=\(80, 54\): give at least 55 x 55 pixels"),
        ({"dense": ()}, r"dense=\(\)"),
        ({"dense": (8, 0)}, r"dense=\(8, 0\)"),
        ({"conv_bias": (0, 1)}, r"conv_bias=\(0, 1\): give 5"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        CaffeNet(**{"size": (80, 80), "dense": (8,), **setting})
