"""The feature of a clip, from every layer and with every pooling, against what the layers themselves compute."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vidssl.encoders import Adapted
from vidssl.evaluate.cache import run_features
from vidssl.evaluate.layers import Pool, find_layer, layer_output, pooled
from vidssl.evaluate.run import View, load_run
from vidssl.evaluate.splits import make_splits
from vidssl.index.table import VideoIndex
from vidssl.models import ENCODERS, CaffeNet, r3d_tiny
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError


def test_max_pooling_is_the_published_one() -> None:
    encoder, clips = r3d_tiny().eval(), torch.rand(2, 3, 16, 112, 112)
    with torch.no_grad():
        last, out = encoder.forward_map(clips), pooled(encoder, clips, "max")
    assert out.shape == (2, 64 * 2 * 3 * 3)  # 9216 for 512 channels
    assert out.view(2, 64, 2, 3, 3)[0, 5, 1, 2, 0] == last[0, 5, 1, 4:6, 0:2].max()


def test_single_frames_are_pooled_as_published() -> None:
    """Frames of 224 x 224 through CaffeNet: 9216 numbers of pool5. Larger ones do not fit its dense layers."""
    encoder, frames = CaffeNet((227, 227), (8,)).eval(), torch.rand(2, 3, 1, 224, 224)
    with torch.no_grad():
        out = pooled(encoder, frames, "none")
        assert out.shape == (2, 9216)
        assert torch.equal(out, encoder.forward_map(frames).flatten(1))
        with pytest.raises(VidsslError, match="take the recipe's crop, or pool=none"):
            pooled(encoder, torch.rand(2, 3, 1, 256, 256), "avg")
        with pytest.raises(VidsslError, match="only vidssl's encoders have a last map"):
            pooled(torch.nn.Flatten(), frames, "max")
        with pytest.raises(
            VidsslError, match=r"returns \[2, 3, 1, 224, 224\] for \[2, 3, 1, 224, 224\]; let it return one vector"
        ):
            pooled(torch.nn.Identity(), frames, "avg")


def test_a_map_keeps_where_and_when_in_a_grid() -> None:
    """Of a map of 2 x 7 x 7, of a layer that is larger than the grid in time, of frames, and of vectors."""
    encoder, clips = r3d_tiny().eval(), torch.rand(2, 3, 16, 112, 112)
    frames, caffe = torch.rand(2, 3, 1, 80, 80), CaffeNet((80, 80), (8,)).eval()
    with torch.no_grad():
        last = encoder.forward_map(clips)
        made = pooled(encoder, clips, "map").view(2, 64, 2, 4, 4)
        assert made[1, 5, 1, 0, 3] == pytest.approx(last[1, 5, 1, 0:2, 5:7].mean())  # cells of 7 pixels overlap
        deep = layer_output(encoder, clips, "stages.0")
        early = pooled(encoder, clips, "map", "stages.0").view(2, 16, 2, 4, 4)
        torch.testing.assert_close(early[:, :, 1, 2, 0], deep[:, :, 8:, 28:42, :14].mean((2, 3, 4)))
        small = pooled(encoder, clips[:, :, :8, :32, :32], "map")
        torch.testing.assert_close(small, encoder.forward_map(clips[:, :, :8, :32, :32]).flatten(1))  # 1 x 2 x 2
        assert pooled(caffe, frames, "map").shape == (2, 256 * 2 * 2)
        assert pooled(caffe, frames, "map", "conv1").shape == (2, 96 * 4 * 4)
        torch.testing.assert_close(pooled(caffe, frames, "map", "fc6"), layer_output(caffe, frames, "fc6"))
        with pytest.raises(VidsslError, match=r"pool='map': the output is \[2, 3, 1, 1, 1, 1\]; take pool=none"):
            pooled(torch.nn.Sequential(torch.nn.Identity()), torch.rand(2, 3, 1, 1, 1, 1), "map", "0")


@pytest.mark.parametrize("layer", ["conv5", "convs.conv5", "pool5", "fc6", "dense.bn6"])
def test_a_layer_gives_what_the_layers_up_to_it_compute(layer: str) -> None:
    """By running the layers one by one. A layer of the map takes frames of 224 x 224 too."""
    torch.manual_seed(0)
    encoder, frames = CaffeNet((80, 80), (8,)).eval(), torch.rand(2, 3, 1, 80, 80)
    parts = {f"convs.{name}": part for name, part in encoder.convs.named_children()}
    parts |= {f"dense.{name}": part for name, part in encoder.dense.named_children()}
    with torch.no_grad():
        wanted = frames.squeeze(2)
        for name, part in parts.items():
            wanted = part(wanted.flatten(1) if name == "dense.fc6" else wanted).clone()
            if name.endswith(layer):
                break
        torch.testing.assert_close(layer_output(encoder, frames, layer), wanted)
        torch.testing.assert_close(pooled(encoder, frames, "none", layer), wanted.flatten(1))
        torch.testing.assert_close(
            pooled(encoder, frames, "avg", layer), wanted.mean((2, 3)) if wanted.dim() == 4 else wanted
        )
        if not layer.startswith(("fc", "dense")):
            assert pooled(encoder, torch.rand(2, 3, 1, 224, 224), "avg", layer).shape == (2, 256)
        else:
            with pytest.raises(VidsslError, match=r"layer='.*': clips: shape .*; take the recipe's crop"):
                pooled(encoder, torch.rand(2, 3, 1, 224, 224), "avg", layer)


@pytest.mark.parametrize("name", ["r3d_tiny", "resnet_tiny", "c3d", "r2plus1d"])
def test_every_layer_gives_a_feature(name: str) -> None:
    """All layers that a pass calls; the last one is the last map. Nothing stays hooked to the network."""
    encoder = ENCODERS[name]().eval()
    frames, rows, cols = encoder.minimum
    clips = torch.rand(1, 3, frames, 2 * rows, 2 * cols)
    with torch.no_grad():
        names = [layer for layer, part in encoder.named_modules() if layer and not list(part.children())]
        for layer in names:
            assert pooled(encoder, clips, "avg", layer).dim() == 2
        last = [layer for layer, _ in encoder.named_children()][-1]
        torch.testing.assert_close(pooled(encoder, clips, "avg", last), encoder(clips))
        torch.testing.assert_close(pooled(encoder, clips, "max", last), pooled(encoder, clips, "max"))
        assert not any(part._forward_hooks for part in encoder.modules())


def test_wrong_layers_are_named_with_all_that_exist() -> None:
    encoder = r3d_tiny()
    with pytest.raises(
        VidsslError, match=r"layer='fc6': no layer has this name; take one of stem, stem\.0, .*stages\.3"
    ):
        find_layer(encoder, "fc6")
    with pytest.raises(VidsslError, match=r"layer='conv1': stages\.0\.conv1 and stages\.1\.conv1 .* have this name"):
        find_layer(encoder, "conv1")
    with pytest.raises(VidsslError, match="pool='mean': take one of avg, max, map, none"):
        pooled(encoder, torch.rand(1, 3, 8, 16, 16), "mean")  # type: ignore[arg-type]


class _Spare(torch.nn.Module):
    """A network with a layer that it does not call, and one that returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare, self.two = torch.nn.Flatten(), torch.nn.Flatten(), torch.nn.GRU(4, 2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.two(self.used(clips))[0]
        return out


def test_a_layer_that_gives_no_tensor_is_refused() -> None:
    clips: Any = torch.rand(3, 4)
    assert torch.equal(layer_output(_Spare(), clips, "used"), clips)
    with pytest.raises(VidsslError, match="layer='spare': the network does not call it"):
        layer_output(_Spare(), clips, "spare")
    with pytest.raises(VidsslError, match="layer='two': it returns a tuple"):
        layer_output(_Spare(), clips, "two")


def test_layers_of_an_encoder_of_frames_keep_the_time_of_a_clip() -> None:
    """The layer sees frames; its output is put together by clip, and a vector is the mean over the frames."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    encoder, clips = Adapted(net, (3, 4, 8, 8), name="mine").eval(), torch.rand(2, 3, 4, 8, 8)
    with torch.no_grad():
        wanted = torch.stack([net[0](clips[:, :, at]) for at in range(4)], dim=2)
        torch.testing.assert_close(layer_output(encoder, clips, "module.0"), wanted)
        torch.testing.assert_close(layer_output(encoder, clips, "module.2"), wanted.mean((2, 3, 4)))
        torch.testing.assert_close(pooled(encoder, clips, "avg", "module.0"), wanted.mean((2, 3, 4)))
        assert pooled(encoder, clips, "max", "module.0").shape == (2, 5 * 4 * 3 * 3)


def test_features_of_layers_are_cached_apart(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    run, view = load_run(tmp_path / "run"), View(clips=1)
    data = make_splits(run.recipe, run.trained_on, index)
    sizes: dict[tuple[str | None, Pool], list[int]] = {}
    early, late, views = "stages.0", "stages.2", list[tuple[str | None, Pool]]()
    views += [(None, "avg"), (early, "avg"), (early, "map"), (late, "avg"), (None, "avg")]
    for layer, pool in views:
        one = replace(view, layer=layer, pool=pool)
        (trained, _), _ = run_features(run, data, run.encoders(), one, device="cpu", progress=False)
        sizes.setdefault((layer, pool), []).append(trained.feature.shape[1])
    rows, cols = recipe.pretext.augment.crop
    cells = min(4, rows // 2) * min(4, cols // 2) * 2
    assert sizes == {
        (None, "avg"): [64, 64],
        ("stages.0", "avg"): [16],
        ("stages.0", "map"): [16 * cells],
        ("stages.2", "avg"): [32],
    }
    assert replace(view, layer="stages.0", pool="map").notes(recipe)[0] == "Features: layer stages.0, pool=map."
    assert not view.notes(recipe)
