"""Encoders from a function: trained, resumed, evaluated, loaded and exported, and run only where they are trusted."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import vidssl
from vidssl.cli import main
from vidssl.encoders import is_code
from vidssl.encoders.code import call_code
from vidssl.index.table import VideoIndex
from vidssl.models import R3D, r3d_tiny
from vidssl.pretext import Opn, build_encoder, build_model
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import check_model, train
from vidssl.types import VidsslError

CLIPS = """
from pathlib import Path
from torch import nn

with (Path(__file__).parent / "imported").open("a") as file:  # shows whether the code was run
    file.write("x")

def net(channels=3):
    return nn.Sequential(
        nn.Conv3d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm3d(8), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    )

def frames(channels=3):
    return nn.Conv2d(channels, 8, 3, stride=2, padding=1)

def ours(channels=3):
    from vidssl import models

    return models.r3d_tiny(channels=channels)

def needs(width):
    return nn.Identity()

def number(channels=3):
    return channels

constant = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_encoder.py").write_text(CLIPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_encoder", raising=False)
    return tmp_path


def imported(folder: Path) -> bool:
    """Whether the code was run since the last call."""
    try:
        (folder / "imported").unlink()
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize("encoder", ["own_encoder.py:net", "own_encoder:net", "own_encoder.py:frames"])
def test_trained_resumed_evaluated_loaded_and_exported(
    encoder: str, folder: Path, index: VideoIndex, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = replace(recipe.train, save_every=10, val_every=10, log_every=10)
    recipe = replace(recipe, encoder=encoder, train=seldom)
    check_model(recipe)
    train(recipe, index, folder / "RUN", device="cpu", steps=10, quiet=True)
    train(recipe, index, folder / "RUN", device="cpu", steps=20, resume=True, quiet=True)
    train(recipe, index, folder / "whole", device="cpu", steps=20, quiet=True)
    run, whole = (checkpoint.load_weights(checkpoint.find(folder / name), "encoder") for name in ("RUN", "whole"))
    assert all(torch.equal(one, whole[name]) for name, one in run.items())
    assert checkpoint.load_meta(checkpoint.find(folder / "RUN"))["recipe"]["encoder"] == encoder
    imported(folder)

    for ask in ("evaluate retrieval RUN --train VIDEOS --clips 1", "export RUN --out ENCODER"):
        for name in [one for one in sys.modules if one == "own_encoder" or one.startswith("vidssl_code_")]:
            monkeypatch.delitem(sys.modules, name)  # as in another process
        words = ask.replace("VIDEOS", str(index.root)).split()
        assert main(words) == 2
        assert not imported(folder)
        assert main([*words, "--trust-code"]) == 0
        assert imported(folder)
    with pytest.raises(VidsslError, match=f"encoder='{encoder}'.*--trust-code .trust_code=True in Python."):
        vidssl.load(folder / "RUN")
    path = index.video(0).path
    feature = vidssl.load(folder / "RUN", trust_code=True).features(path, device="cpu")
    assert feature.shape == (8,)
    with pytest.raises(VidsslError, match="--trust-code"):
        vidssl.load(folder / "ENCODER")
    assert torch.equal(vidssl.load(folder / "ENCODER", trust_code=True).features(path, device="cpu"), feature)


def test_an_untrusted_run_is_not_resumed_by_another_name(folder: Path, index: VideoIndex, recipe: Recipe) -> None:
    train(replace(recipe, encoder="own_encoder.py:net"), index, folder / "RUN", device="cpu", steps=1, quiet=True)
    imported(folder)
    with pytest.raises(VidsslError, match=r"encoder: 'own_encoder.py:net' then, 'r3d_tiny' now"):
        train(recipe, index, folder / "RUN", device="cpu", steps=2, resume=True, quiet=True)
    assert not imported(folder)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "return net().requires_grad_(False)",
            "all 224 parameters of the encoder are frozen, so it would learn nothing",
        ),
        ("return nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(1))", "the encoder has no parameters, so it"),
        ("return Cut()", "its forward gives features without a gradient"),
    ],
)
def test_an_encoder_that_would_not_learn_is_refused(
    body: str, error: str, index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    """All its weights are frozen, it has none, or its features are cut off from them."""
    (tmp_path / "still.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv3d(3, 8, 1, bias=False), nn.Conv3d(8, 25, 1, bias=False),\n"
        "                         nn.AdaptiveAvgPool3d(1), nn.Flatten(1))\n"
        "class Cut(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = net()\n"
        "    def forward(self, clips):\n"
        "        return self.net(clips).detach()\n"
        f"def build(channels=3):\n    {body}\n"
    )
    recipe = replace(recipe, encoder=f"{tmp_path / 'still.py'}:build")
    for _ in range(2):  # it leaves the folder for the next try
        with pytest.raises(VidsslError, match=error):
            train(recipe, index, tmp_path / "RUN", device="cpu", steps=1, quiet=True)


def test_an_encoder_stays_as_it_is(folder: Path, recipe: Recipe) -> None:
    encoder = build_encoder("own_encoder.py:ours", recipe.pretext.input, norm="group")
    assert isinstance(encoder, R3D)
    assert encoder.made_for == r3d_tiny().made_for
    assert not [one for one in encoder.modules() if isinstance(one, nn.BatchNorm3d)]


def test_frames_and_clips(folder: Path, recipe: Recipe) -> None:
    frames = Opn(augment=recipe.pretext.augment)
    for pretext in (frames, recipe.pretext):
        assert build_model(pretext, "own_encoder.py:frames").encoder.features == 8


@pytest.mark.parametrize(
    ("encoder", "problem"),
    [
        ("none.py:net", "no such file"),
        ("none_of_these:net", "ModuleNotFoundError"),
        ("own_encoder.py:none", "has no function 'none'"),
        ("own_encoder.py:constant", "has no function 'constant'"),
        ("own_encoder.py:", "take module:function"),
        ("own_encoder.py:needs", "raises TypeError"),
        ("own_encoder.py:number", "returns a int"),
        ("broken.py:net", "SyntaxError"),
    ],
)
def test_what_cannot_be_built(encoder: str, problem: str, folder: Path) -> None:
    (folder / "broken.py").write_text("def net(:\n")
    with pytest.raises(VidsslError, match=f"^encoder='{encoder}': ") as raised:
        call_code(encoder, channels=3)
    assert raised.match(problem)


def test_names() -> None:
    assert [is_code(name) for name in ("r3d", "a:b", "a/b.py:c", "hf:a", "timm:a")] == [False, True, True, False, False]
