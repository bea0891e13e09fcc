"""All that transformers are trained with, at once: stopped and resumed it is the same, bit for bit, and fine-tuned."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.processes import lines, run, steady
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import check_model, train
from vidssl.types import VidsslError

STEPS = 8
ENCODER = """
from torch import nn

from vidssl.models import DropPath


class Net(nn.Module):
    layer_names = ["stem", "block"]

    def __init__(self, channels, drop_path):
        super().__init__()
        self.stem = nn.Conv3d(channels, 16, 4, stride=4)
        self.block = nn.Sequential(nn.GroupNorm(1, 16), nn.Conv3d(16, 16, 1), nn.GELU(), DropPath(drop_path))
        self.norm = nn.BatchNorm3d(16)

    def forward(self, clips):
        shown = self.stem(clips)
        return self.norm(shown + self.block(shown))


def net(channels=3, drop_path=0.0):
    return Net(channels, drop_path)


def plain(channels=3):
    return nn.Sequential(nn.Conv3d(channels, 8, 4, stride=4), nn.AdaptiveAvgPool3d(1), nn.Flatten())
"""


@pytest.fixture
def everything(recipe: Recipe, tmp_path: Path) -> Recipe:
    (tmp_path / "own.py").write_text(ENCODER)
    config = replace(
        recipe.train,
        steps=STEPS,
        optimizer="adamw",
        lr=0.01,
        weight_decay=0.05,
        decay_vectors=False,
        layer_decay=0.75,
        schedule="cosine",
        lr_floor=1e-4,
        warmup_epochs=1,
        clip_norm=0.5,
        ema=0.9,
        drop_path=0.3,
        save_every=3,
        log_every=1,
        keep=9,
    )
    return replace(recipe, encoder=f"{tmp_path / 'own.py'}:net", train=config)


def same(one: Path, other: Path) -> None:
    assert steady(one) == steady(other)
    for part in ("encoder", "head"):
        for weights in ("raw", "ema"):
            first, second = (checkpoint.load_weights(checkpoint.find(out), part, weights) for out in (one, other))
            assert all(torch.equal(first[name], second[name]) for name in first)
    states = [checkpoint.load_state(checkpoint.find(out))["optimizer"] for out in (one, other)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for name, moments in states[0]["state"].items():
        assert all(torch.equal(value, states[1]["state"][name][key]) for key, value in moments.items())


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_stopped_and_resumed_is_in_one_go(amp: Any, everything: Recipe, index: VideoIndex, tmp_path: Path) -> None:
    recipe = replace(everything, train=replace(everything.train, amp=amp))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, index, whole, device="cpu", quiet=True)
    shutil.copytree(whole, parts, symlinks=True)
    for path in checkpoint.complete(parts)[1:]:  # as if it had been killed after step 3
        shutil.rmtree(path)
    assert checkpoint.find(parts).name == "step_00000003"
    train(recipe, index, parts, device="cpu", quiet=True, resume=True)
    same(whole, parts)
    logged = [line for line in lines(whole) if "train/learning_rate" in line]
    assert len({line["train/learning_rate"] for line in logged}) > STEPS // 2
    assert max(line["train/grad_norm"] for line in logged) > 0.5  # before clipping


@pytest.mark.parametrize(
    "setting",
    [
        {"layer_decay": 0.5},
        {"warmup_epochs": 2},
        {"clip_norm": 1.0},
        {"drop_path": 0.1},
        {"lr_floor": 0.0},
        {"decay_vectors": True},
    ],
)
def test_a_resumed_run_keeps_each_setting(
    setting: dict[str, Any], everything: Recipe, index: VideoIndex, tmp_path: Path
) -> None:
    recipe = replace(everything, train=replace(everything.train, schedule="constant", lr_floor=0.0, steps=1))
    if "lr_floor" in setting:
        recipe = replace(everything, train=replace(everything.train, steps=20))
    train(recipe, index, tmp_path / "run", device="cpu", quiet=True)
    other = replace(recipe, train=replace(recipe.train, **setting))
    ((name, value),) = setting.items()
    with pytest.raises(VidsslError, match=rf"train.{name}: {getattr(recipe.train, name)} then, {value} now"):
        train(other, index, tmp_path / "run", device="cpu", quiet=True, resume=True)


def test_a_run_of_a_version_without_these_settings_goes_on(
    recipe: Recipe, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidssl.train import recorded

    new = ("lr_floor", "warmup_epochs", "warmup_steps", "clip_norm", "layer_decay", "decay_vectors", "drop_path")
    with monkeypatch.context() as before:
        before.setattr(
            recorded, "CHANGEABLE", (*recorded.CHANGEABLE, *new)
        )  # so that the checkpoint does not have them
        train(recipe, index, tmp_path / "run", device="cpu", quiet=True, steps=1)
    assert not {f"train.{name}" for name in new} & set(checkpoint.load_meta(checkpoint.find(tmp_path / "run"))["fixed"])
    train(recipe, index, tmp_path / "run", device="cpu", quiet=True, steps=2, resume=True)
    other = replace(recipe, train=replace(recipe.train, clip_norm=1.0))
    with pytest.raises(VidsslError, match=r"train.clip_norm: None then, 1.0 now"):
        train(other, index, tmp_path / "run", device="cpu", quiet=True, steps=3, resume=True)


def test_what_an_encoder_lacks_is_named_before_indexing(recipe: Recipe, everything: Recipe, tmp_path: Path) -> None:
    check_model(everything)
    plain = replace(everything, encoder=f"{tmp_path / 'own.py'}:plain")
    with pytest.raises(VidsslError, match=r"drop_path=0.3: .*own.py:plain has none; leave it out"):
        check_model(plain)
    check_model(replace(plain, train=replace(plain.train, drop_path=None)))  # of an nn.Sequential, the children
    with pytest.raises(VidsslError, match=r"drop_path=0.1: r3d_tiny has none"):
        check_model(replace(recipe, train=replace(recipe.train, drop_path=0.1)))


def test_two_processes_train_as_one(index: VideoIndex, tmp_path: Path) -> None:
    options = ("--norm", "group", "--dropout", "0", "--optimizer", "adamw", "--lr", "0.0003", "--layer-decay", "0.75")
    more = ("--schedule", "cosine", "--warmup-steps", "3", "--no-decay-vectors", "--clip-norm", "0.5")
    length = ("--log-every", "1", "--steps", "8")
    run(index.root, tmp_path / "one", *options, *more, *length)
    run(index.root, tmp_path / "two", *options, *more, *length, ranks=2)
    one, two = ([line for line in lines(tmp_path / out) if "train/loss" in line] for out in ("one", "two"))
    assert len(one) == len(two) == 8
    for first, second in zip(one, two, strict=True):
        assert first["train/learning_rate"] == second["train/learning_rate"]
        assert first["train/grad_norm"] == pytest.approx(second["train/grad_norm"], rel=2e-3)
        assert first["train/loss"] == pytest.approx(second["train/loss"], rel=2e-3)


def test_fine_tuning_takes_them_too(everything: Recipe, index: VideoIndex, tmp_path: Path) -> None:
    train(everything, index, tmp_path / "run", device="cpu", quiet=True)
    tune = ["evaluate", "finetune", str(tmp_path / "run"), "--train", str(index.root), "--trust-code", "--clips", "1"]
    tune += ["--steps", "2", "--batch-size", "4", "--optimizer", "adamw", "--layer-decay", "0.65", "--drop-path", "0.2"]
    assert main([*tune, "--clip-norm", "1", "--schedule", "cosine", "--warmup-steps", "1", "--holdout", "0"]) == 0
    fixed = checkpoint.load_meta(checkpoint.find(tmp_path / "run" / "finetune" / "checkpoint"))["fixed"]
    assert (fixed["train.layer_decay"], fixed["train.drop_path"], fixed["train.warmup_steps"]) == (0.65, 0.2, 1)
