"""The moving average is the closed formula, is resumed to the bit, and is what evaluation takes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vidssl
from tests.train.processes import lines, run, steady
from vidssl.cli import main
from vidssl.evaluate.run import load_run, trained_encoder
from vidssl.index.table import VideoIndex
from vidssl.models import ENCODERS
from vidssl.train import checkpoint
from vidssl.train.average import moving_average
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.init import read_weights
from vidssl.train.train import train
from vidssl.types import VidsslError


def test_the_closed_formula() -> None:
    """After n steps: the first weights times decay^(n - 1), and (1 - decay) decay^(n - k) of the k-th."""
    torch.manual_seed(0)
    model, decay, seen = ENCODERS["resnet_tiny"](), 0.9, []
    average = moving_average(model, decay)
    for _ in range(6):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(torch.randn(value.shape) if value.is_floating_point() else value + 1)
        average.update_parameters(model)
        seen.append({name: value.double().clone() for name, value in model.state_dict().items()})
    shares = [decay**5, *((1 - decay) * decay ** (5 - k) for k in range(1, 6))]
    assert sum(shares) == pytest.approx(1)
    for name, value in average.module.state_dict().items():
        if value.is_floating_point():
            wanted = sum(share * one[name] for share, one in zip(shares, seen, strict=True))
            torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
        else:
            assert value == seen[-1][name], name


@pytest.fixture(scope="module")
def averaged(recipe: Recipe) -> Recipe:
    return replace(recipe, train=replace(recipe.train, ema=0.8, steps=6, save_every=1, keep=9, lr=0.05, log_every=1))


@pytest.fixture(scope="module")
def whole(averaged: Recipe, index: VideoIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("average") / "run"
    train(averaged, index, out, device="cpu", quiet=True)
    return out


def parts(path: Path, weights: checkpoint.Which) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": value
        for part in ("encoder", "head")
        for name, value in checkpoint.load_weights(path, part, weights).items()
    }


def test_a_runs_average_is_that_of_its_checkpoints(whole: Path) -> None:
    raw = [parts(path, "raw") for path in checkpoint.complete(whole)]
    wanted = {name: value.double() for name, value in raw[0].items()}
    for one in raw[1:]:
        wanted = {name: 0.8 * value + 0.2 * one[name].double() for name, value in wanted.items()}
    found = parts(checkpoint.find(whole), "ema")
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), wanted[name], rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(value, raw[-1][name]) for name, value in found.items())


def test_stopped_and_resumed_is_in_one_go(averaged: Recipe, whole: Path, index: VideoIndex, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "parts", symlinks=True)
    for path in checkpoint.complete(tmp_path / "parts")[3:]:
        shutil.rmtree(path)
    train(averaged, index, tmp_path / "parts", device="cpu", quiet=True, resume=True)
    assert steady(whole) == steady(tmp_path / "parts")
    for weights in ("raw", "ema"):
        one, other = (parts(checkpoint.find(out), weights) for out in (whole, tmp_path / "parts"))
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_training_does_not_depend_on_the_average(
    averaged: Recipe, whole: Path, index: VideoIndex, tmp_path: Path
) -> None:
    plain = replace(averaged, train=replace(averaged.train, ema=None))
    train(plain, index, tmp_path / "run", device="cpu", quiet=True)
    one, other = (parts(checkpoint.find(out), "raw") for out in (whole, tmp_path / "run"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert [line.get("train/loss") for line in lines(whole)] == [
        line.get("train/loss") for line in lines(tmp_path / "run")
    ]
    with pytest.raises(VidsslError, match=r"weights='ema': the run was trained without ema"):
        load_run(tmp_path / "run", weights="ema")
    assert vidssl.load(tmp_path / "run").weights == "raw"


def test_which_weights_are_taken(whole: Path, index: VideoIndex, tmp_path: Path) -> None:
    path = checkpoint.find(whole)
    raw, ema = (checkpoint.load_weights(path, "encoder", which) for which in ("raw", "ema"))
    name = "stem.0.weight"
    assert not torch.equal(raw[name], ema[name])
    assert torch.equal(trained_encoder(path)[0].state_dict()[name], ema[name])
    for which, wanted in (("auto", ema), ("ema", ema), ("raw", raw)):
        loaded = vidssl.load(whole, weights=which)
        assert torch.equal(loaded.encoder.state_dict()[name], wanted[name])
        run_s = load_run(whole, weights=which)  # type: ignore[arg-type]
        assert torch.equal(run_s.encoders()["trained"].state_dict()[name], wanted[name])
    assert torch.equal(read_weights(whole).tensors[name], ema[name])
    assert torch.equal(read_weights(path / "encoder.safetensors").tensors[name], raw[name])
    assert main(["export", str(whole), "--out", str(tmp_path / "raw"), "--weights", "raw"]) == 0
    assert torch.equal(vidssl.load(tmp_path / "raw").encoder.state_dict()[name], raw[name])
    with pytest.raises(VidsslError, match=r"weights='ema': this export holds the raw ones"):
        vidssl.load(tmp_path / "raw", weights="ema")
    features = ["features", str(whole), "--data", str(index.root), "--clips", "1", "--device", "cpu"]
    tables = []
    for which in ("raw", "ema", "auto"):
        assert main([*features, "--out", str(tmp_path / f"{which}.npy"), "--weights", which]) == 0
        tables.append((tmp_path / f"{which}.npy").read_bytes())
    assert tables[1] == tables[2] != tables[0]


def test_a_table_says_which_weights_gave_it(
    whole: Path, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pretext.json"
    for options, used in (((), "ema"), (("--weights", "ema"), "ema"), (("--weights", "raw"), "raw")):
        assert main(["evaluate", "pretext", str(whole), "--test", str(index.root), "--out", str(out), *options]) == 0
        head, *rows = capsys.readouterr().out.splitlines()
        assert head.startswith(f"pretext, % ({used} weights)  ")
        assert len(head) == len(rows[0])
        assert json.loads(out.read_text())["weights"] == used


def test_a_damaged_average_is_not_used(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run", symlinks=True)
    last = checkpoint.find(tmp_path / "run")
    (last / "encoder_ema.safetensors").unlink()
    assert checkpoint.find(tmp_path / "run") != last


def test_two_processes_average_as_one(index: VideoIndex, tmp_path: Path) -> None:
    options = ("--norm", "group", "--dropout", "0", "--lr", "0.001", "--steps", "4", "--ema", "0.8")
    run(index.root, tmp_path / "one", *options)
    run(index.root, tmp_path / "two", *options, ranks=2)
    one, two = (parts(checkpoint.find(tmp_path / name), "ema") for name in ("one", "two"))
    assert all(torch.allclose(value.double(), two[name].double(), atol=1e-4) for name, value in one.items())


def test_bad_decays_are_named() -> None:
    for bad in (0.0, 1.0, -0.5):
        with pytest.raises(VidsslError, match=r"ema=.*: take 0 < ema < 1"):
            TrainConfig(ema=bad)
