"""Encoders of timm: trained, resumed, evaluated, loaded and exported; and errors where timm cannot be imported."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import vidssl
from vidssl.cli import main
from vidssl.encoders import Adapted
from vidssl.encoders.timm import Frames, make_timm
from vidssl.index.table import VideoIndex
from vidssl.models.norm import with_group_norm
from vidssl.pretext import build_encoder
from vidssl.recipes.opn import opn_tiny
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.optimizer import layers_of
from vidssl.train.train import check_model, train
from vidssl.types import VidsslError


def import_timm() -> tuple[Any, str]:
    """timm, or None and the reason."""
    if find_spec("timm") is None:
        return None, "timm is not installed: pip install 'vidssl[timm]', with a torchvision of torch's version"
    try:
        import timm
    except Exception as error:
        return None, f"timm cannot be imported: {error}"
    return timm, ""


timm, REASON = import_timm()
needed = pytest.mark.skipif(timm is None, reason=REASON)
KINDS = ("resnet18", "vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224")
CLIPS, FRAMES = (3, 4, 32, 32), (3, 1, 32, 32)


def model_of(encoder: Adapted) -> Any:
    """The model of timm within an encoder."""
    return encoder.module.get_submodule("model")


@needed
@pytest.mark.parametrize(
    ("name", "shown"),
    [(KINDS[0], "clips"), (KINDS[1], "clips"), (KINDS[2], "frames"), (KINDS[3], "frames")],
)
def test_trained_resumed_evaluated_loaded_and_exported(
    name: str, shown: str, index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    augment = replace(recipe.pretext.augment, resize=(36, 48), crop=(32, 32))
    pretext = replace(recipe.pretext if shown == "clips" else opn_tiny().pretext, augment=augment)
    seldom = replace(recipe.train, save_every=10, val_every=10, drop_path=0.1)
    recipe = replace(recipe, encoder=f"timm:{name}", pretext=pretext, train=seldom)
    check_model(recipe)
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=10, quiet=True)
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=20, resume=True, quiet=True)
    train(recipe, index, tmp_path / "whole", device="cpu", steps=20, quiet=True)
    run, whole = (checkpoint.load_weights(checkpoint.find(tmp_path / at), "encoder") for at in ("RUN", "whole"))
    begun = build_encoder(f"timm:{name}", pretext.input).state_dict()
    assert all(torch.equal(one, whole[at]) for at, one in run.items())
    assert set(run) == set(begun)
    meta = checkpoint.load_meta(checkpoint.find(tmp_path / "RUN"))
    assert meta["recipe"]["encoder"] == f"timm:{name}"
    assert meta["versions"]["timm"] == timm.__version__
    assert main(["evaluate", "retrieval", "RUN", "--train", str(index.root), "--clips", "1"]) == 0
    assert main(["features", "RUN", "--data", str(index.root), "--out", "features.npy", "--clips", "1"]) == 0
    feature = vidssl.load("RUN").features(index.video(0).path, device="cpu")
    assert feature.shape == (timm.create_model(name, num_classes=0).num_features,)
    assert main(["export", "RUN", "--out", "ENCODER", "--to", "safetensors", "torch", "onnx"]) == 0
    assert torch.equal(vidssl.load("ENCODER").features(index.video(0).path, device="cpu"), feature)


@needed
@pytest.mark.parametrize("name", [KINDS[0], KINDS[1], KINDS[3]])
def test_the_map_is_that_of_timm(name: str) -> None:
    """timm gives maps of stages as [N, M, h, w], whatever the model computes with. ConvNeXt's is normalised again."""
    encoder, clips = make_timm(f"timm:{name}", CLIPS).eval(), torch.randn(2, *CLIPS)
    with torch.no_grad():
        found, feature = encoder.forward_map(clips), encoder(clips)
        for at in range(4):
            frames = clips[:, :, at]
            (wanted,) = model_of(encoder).forward_intermediates(
                frames, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
            )
            assert torch.allclose(found[:, :, at], wanted, atol=1e-5)
        assert torch.allclose(feature, found.mean((2, 3, 4)))


@needed
@pytest.mark.parametrize("name", KINDS)
def test_every_weight_is_used_and_is_in_one_layer(name: str) -> None:
    encoder = make_timm(f"timm:{name}", FRAMES)
    encoder(torch.randn(2, *FRAMES)).sum().backward()
    assert not [weight for weight, one in encoder.named_parameters() if one.grad is None]
    layers = layers_of(encoder)
    assert sorted(weight for layer in layers for weight in layer) == sorted(
        weight for weight, _ in encoder.named_parameters()
    )
    first = next(weight for weight, one in encoder.named_parameters() if one.ndim == 4)
    assert first in layers[0]
    assert len(layers) > 4


@needed
def test_size_colours_and_drop_path() -> None:
    vit, resnet = (make_timm(f"timm:{name}", (3, 4, 48, 32), drop_path=0.3) for name in KINDS[1::-1])
    assert (vit.minimum, vit.maximum) == ((1, 48, 32), (None, 48, 32))
    assert (resnet.minimum, resnet.maximum) == ((1, 1, 1), (None, None, None))
    assert (vit.mean, resnet.mean) == ((0.5, 0.5, 0.5), (0.485, 0.456, 0.406))
    assert max(getattr(part, "drop_prob", 0.0) or 0.0 for part in vit.modules()) == pytest.approx(0.3)
    stack = make_timm("timm:resnet18.a1_in1k", (15, 1, 32, 32))
    assert (stack.mean, model_of(stack).conv1.in_channels) == (None, 15)
    with pytest.raises(VidsslError, match=r"drop_path=0.1: timm:vgg11 has none"):
        make_timm("timm:vgg11", FRAMES, drop_path=0.1)


@needed
def test_weights_of_timm_are_taken(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    weights = timm.create_model("resnet18", num_classes=7).state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    train_ = replace(recipe.train, lr=1e-12)
    recipe = replace(recipe, encoder="timm:resnet18", init=str(tmp_path / "model.safetensors"), train=train_)
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=1, quiet=True)
    found = checkpoint.load_weights(checkpoint.find(tmp_path / "RUN"), "encoder")
    assert torch.allclose(found["module.model.layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"], atol=1e-6)


@needed
def test_norms_of_timm_keep_their_activation() -> None:
    from timm.layers import BatchNormAct2d

    model = nn.Sequential(BatchNormAct2d(32, act_layer=nn.ReLU))
    with_group_norm(model)
    shown = torch.randn(2, 32, 4, 4)
    assert torch.equal(model(shown), nn.GroupNorm(2, 32)(shown).relu())
    build_encoder("timm:test_efficientnet", FRAMES, norm="group")


@needed
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("hf-hub:timm/resnet18", "hf-hub: names a place that holds a model, and nothing is downloaded"),
        ("local-dir:here", "local-dir: names a place"),
        ("resnet81", "has no such model; did you mean resnet18 or "),
        ("xqz", "has no such model; timm.list_models"),
        ("resnet18.none", r"RuntimeError: Invalid pretrained tag \(none\)"),
        ("coat_mini", "cannot build it without its pooling, for frames of 64 x 64 in 3 channels: AssertionError: Only"),
        ("pit_xs_224", r"returns \[2, 1, 384\], tokens without known places; take another model"),
        ("efficientvim_m1", "it returns a list"),
    ],
)
def test_what_cannot_be_built(name: str, problem: str) -> None:
    with pytest.raises(VidsslError, match=f"^encoder='timm:{name}': ") as raised:
        make_timm(f"timm:{name}", (3, 1, 64, 64))
    assert raised.match(problem)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.encoders.timm.find_spec", lambda name: None)
    with pytest.raises(VidsslError, match=r"^encoder='timm:resnet18': .* pip install 'vidssl\[timm\]'"):
        build_encoder("timm:resnet18", FRAMES)


def test_a_timm_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it fails where torchvision was made for another torch."""
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [one for one in sys.modules if one.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        VidsslError, match="torchvision::nms does not exist; it needs the torchvision that was made for"
    ):
        build_encoder("timm:resnet18", FRAMES)


class Tokens(nn.Module):
    """Returns the pixels of frames of 8 x 4 as tokens, behind two others."""

    num_prefix_tokens = 2
    feature_info: tuple[dict[str, int], ...] = ({"reduction": 1},)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.cat([frames.new_zeros(frames.shape[0], 2, 3), frames.flatten(2).transpose(1, 2)], dim=1)


class Turned(nn.Module):
    """Returns the frames with their channels last."""

    output_fmt = "NHWC"

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.permute(0, 2, 3, 1)


@pytest.mark.parametrize("module", [Tokens(), Turned(), nn.Identity()])
def test_maps_have_their_channels_first(module: nn.Module) -> None:
    frames = torch.randn(2, 3, 8, 4)
    assert torch.equal(Frames(module)(frames), frames)


@pytest.mark.parametrize("module", [Tokens(), Turned()])
def test_a_program_takes_any_number_of_clips(module: nn.Module) -> None:
    encoder = Adapted(Frames(module), (3, 4, 8, 4), name="mine", frames=True).eval()
    batch = {0: torch.export.Dim("n", min=1)}
    program = torch.export.export(encoder, (torch.randn(2, 3, 4, 8, 4),), dynamic_shapes=(batch,))
    clips = torch.randn(5, 3, 4, 8, 4)
    assert torch.allclose(program.module()(clips), encoder(clips))


def test_tokens_without_places_are_refused() -> None:
    module = Tokens()
    module.feature_info = ()
    with pytest.raises(ValueError, match=r"returns \[2, 34, 3\], tokens without known places"):
        Frames(module)(torch.randn(2, 3, 8, 4))
