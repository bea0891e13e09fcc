"""Encoders of transformers from small configs: trained, resumed, evaluated, loaded and exported."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import vidssl
from vidssl.cli import main
from vidssl.encoders.hf import read_hf
from vidssl.evaluate.run import load_run, untrained_model
from vidssl.index.table import VideoIndex
from vidssl.pretext import build_model
from vidssl.recipes.opn import opn_tiny
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import check_model, train
from vidssl.types import VidsslError

HAVE = find_spec("transformers") is not None
needed = pytest.mark.skipif(not HAVE, reason="transformers is not installed: pip install 'vidssl[transformers]'")
KINDS = ("videomae", "vjepa2", "vit")
CLIPS = (3, 8, 16, 16)


def config(kind: str) -> Any:
    from transformers import VideoMAEConfig, ViTConfig, VJEPA2Config

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
    if kind == "vit":
        return ViTConfig(image_size=16, intermediate_size=64, **small)
    if kind == "videomae":
        return VideoMAEConfig(image_size=16, num_frames=8, tubelet_size=2, intermediate_size=64, **small)
    predictor = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    return VJEPA2Config(crop_size=16, frames_per_clip=16, tubelet_size=2, **small, **predictor)


def shape(kind: str) -> tuple[int, int, int, int]:
    return (3, 1, 16, 16) if kind == "vit" else CLIPS


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_trained_resumed_evaluated_loaded_and_exported(
    kind: str, index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config(kind).save_pretrained("model")
    pretext = replace(opn_tiny().pretext, augment=recipe.pretext.augment) if kind == "vit" else recipe.pretext
    seldom = replace(recipe.train, save_every=10, val_every=10, log_every=10)
    recipe = replace(recipe, encoder="hf:model", pretext=pretext, train=seldom)
    check_model(recipe)
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=10, quiet=True)
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=20, resume=True, quiet=True)
    train(recipe, index, tmp_path / "whole", device="cpu", steps=20, quiet=True)
    run, whole = (checkpoint.load_weights(checkpoint.find(tmp_path / name), "encoder") for name in ("RUN", "whole"))
    begun = build_model(pretext, "hf:model").encoder.state_dict()
    assert all(torch.equal(one, whole[name]) for name, one in run.items())
    assert set(run) == set(begun)
    assert main(["evaluate", "retrieval", "RUN", "--train", str(index.root), "--clips", "1"]) == 0
    feature = vidssl.load("RUN").features(index.video(0).path, device="cpu")
    assert feature.shape == (32,)
    assert main(["export", "RUN", "--out", "ENCODER", "--to", "safetensors", "torch"]) == 0
    assert torch.equal(vidssl.load("ENCODER").features(index.video(0).path, device="cpu"), feature)


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_the_folder_and_tokens_at_their_places(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    torch.manual_seed(0)
    model = AutoModel.from_config(config(kind)).eval()
    model.save_pretrained(tmp_path)
    encoder = read_hf(f"hf:{tmp_path}", shape(kind)).eval()
    clips = torch.randn(2, *shape(kind))
    given: dict[str, Any] = (
        {"pixel_values": clips[:, :, 0]} if kind == "vit" else {"pixel_values": clips.transpose(1, 2)}
    )
    if kind == "vjepa2":
        given = {"pixel_values_videos": clips.transpose(1, 2), "skip_predictor": True}
    with torch.no_grad():
        tokens = model(**given).last_hidden_state[:, 1 if kind == "vit" else 0 :]
        found, feature = encoder.forward_map(clips), encoder(clips)
    times = 1 if kind == "vit" else 4
    assert found.shape == (2, 32, times, 2, 2)
    assert torch.allclose(found.flatten(2).transpose(1, 2), tokens, atol=1e-6)
    assert torch.allclose(feature, tokens.mean(1), atol=1e-6)
    assert not [name for name in encoder.state_dict() if "pooler" in name or "predictor" in name]


@needed
@pytest.mark.parametrize("kind", ["videomae", "vit"])
def test_the_untrained_encoder_and_scratch_have_random_weights(
    kind: str, index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run begins with the weights of its folder; what it is compared with does not."""
    from transformers import AutoModel

    AutoModel.from_config(config(kind)).save_pretrained(tmp_path / "model")
    pretext = replace(opn_tiny().pretext, augment=recipe.pretext.augment) if kind == "vit" else recipe.pretext
    recipe = replace(recipe, encoder=f"hf:{tmp_path / 'model'}", pretext=pretext, train=replace(recipe.train, lr=1e-12))
    train(recipe, index, tmp_path / "RUN", device="cpu", steps=1, quiet=True)
    found = {name: one.state_dict() for name, one in load_run(tmp_path / "RUN").encoders().items()}
    begun = build_model(pretext, recipe.encoder).encoder.state_dict()
    shutil.rmtree(tmp_path / "model")
    config(kind).save_pretrained(tmp_path / "model")  # without weights, the encoder gets those of the seed
    torch.manual_seed(recipe.train.seed)
    random = build_model(pretext, recipe.encoder).encoder.state_dict()
    large = next(name for name, one in begun.items() if one.dim() == 2)
    assert not torch.allclose(begun[large], random[large], atol=1e-3)
    for name in begun:
        torch.testing.assert_close(found["trained"][name], begun[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(found["untrained"][name], random[name], atol=0, rtol=0)
    assert load_run(tmp_path / "RUN").begun_with == ""
    torch.manual_seed(1)
    AutoModel.from_config(config(kind)).save_pretrained(tmp_path / "model")
    small = ["--train", str(index.root), "--device", "cpu"]
    command = ["evaluate", "finetune", str(tmp_path / "RUN"), *small, "--init", "scratch", "--steps", "1"]
    assert main([*command, "--lr", "1e-12", "--batch-size", "2", "--clips", "1"]) == 0
    scratch = checkpoint.load_weights(checkpoint.find(tmp_path / "RUN" / "finetune" / "scratch"), "encoder")
    torch.testing.assert_close(scratch[large], random[large], atol=1e-6, rtol=0)
    capsys.readouterr()
    assert main(["evaluate", "pretext", str(tmp_path / "RUN"), *small]) == 0
    said = f"It began with the weights of hf:{tmp_path / 'model'}; whether those have seen test videos is not known."
    assert said in capsys.readouterr().out
    untrained = untrained_model(recipe).encoder.state_dict()
    assert all(torch.equal(one, random[name]) for name, one in untrained.items())


@needed
def test_a_vit_sees_each_frame_of_a_clip(tmp_path: Path) -> None:
    config("vit").save_pretrained(tmp_path)
    encoder, clips = read_hf(f"hf:{tmp_path}", CLIPS).eval(), torch.randn(2, *CLIPS)
    with torch.no_grad():
        found = encoder.forward_map(clips)
        assert found.shape == (2, 32, 8, 2, 2)
        assert torch.allclose(found[:, :, 5:6], encoder.forward_map(clips[:, :, 5:6]), atol=1e-5)


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_drop_path(kind: str, tmp_path: Path) -> None:
    """Only the last of the two blocks has it; evaluation and the names of weights are as without it."""
    from transformers import AutoModel

    AutoModel.from_config(config(kind)).save_pretrained(tmp_path)
    plain, dropped = (read_hf(f"hf:{tmp_path}", shape(kind), drop_path=rate) for rate in (None, 0.5))
    assert list(dropped.state_dict()) == list(plain.state_dict())
    clips = torch.randn(1, *shape(kind)).expand(64, -1, -1, -1, -1)
    with torch.no_grad():
        assert torch.equal(dropped.eval()(clips), plain.eval()(clips))
        shown = dropped.train()(clips).round(decimals=4).unique(dim=0)
        both = plain.train()(clips).round(decimals=4).unique(dim=0)
    assert len(both) == 1
    assert len(shown) == 4  # with and without attention, with and without the MLP


@needed
def test_colours_of_the_weights_are_noted(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config("videomae").save_pretrained(tmp_path / "model")
    about = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(about))
    train(replace(recipe, encoder=f"hf:{tmp_path / 'model'}"), index, tmp_path / "RUN", device="cpu", steps=1)
    assert "--mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 takes its own" in capsys.readouterr().out
    (tmp_path / "model" / "preprocessor_config.json").write_text('{"image_mean": [1]}')
    with pytest.raises(VidsslError, match=r"preprocessor_config.json: image_mean is \[1\]"):
        read_hf(f"hf:{tmp_path / 'model'}", CLIPS)


@needed
def test_what_does_not_fit(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file
    from transformers import AutoModel

    encoder = f"hf:{tmp_path}"
    AutoModel.from_config(config("videomae")).save_pretrained(tmp_path)
    with pytest.raises(VidsslError, match=r"takes clips of 8 x 16 x 16 .* shows it 4 x 16 x 16 in 3"):
        read_hf(encoder, (3, 4, 16, 16))
    weights = load_file(tmp_path / "model.safetensors")
    save_file(dict(list(weights.items())[1:]), tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VidsslError, match="its weights lack 1 of the encoder's tensors, such as "):
        read_hf(encoder, CLIPS)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(VidsslError, match="a pickle can run code"):
        read_hf(encoder, CLIPS)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(VidsslError, match="model_type 'bert'; take one of videomae, vit, vjepa2"):
        read_hf(encoder, CLIPS)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(VidsslError, match="holds no settings"):
        read_hf(encoder, CLIPS)
    with pytest.raises(VidsslError, match="No such file"):
        read_hf(f"hf:{tmp_path / 'none'}", CLIPS)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.encoders.hf.find_spec", lambda name: None)
    with pytest.raises(VidsslError, match=r"pip install 'vidssl\[transformers\]'"):
        read_hf("hf:folder", CLIPS)
