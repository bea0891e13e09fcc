"""A loss or gradient that is not finite stops the run, or its step is skipped; either way the tuples are named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.processes import lines
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.nonfinite import Shown, check_finite
from vidssl.train.step import Stepper, StepResult
from vidssl.train.train import train
from vidssl.types import Batch, VidsslError


def poison(steps: set[int]) -> object:
    """Stepper.backward whose loss is not a number in those steps."""
    real = Stepper.backward

    def backward(self: Stepper, batch: Batch, step: int) -> StepResult:
        if step + 1 in steps:
            clips = batch.clips.clone()
            clips[1] = math.nan
            batch = batch._replace(clips=clips)
        return real(self, batch, step)

    return backward


def test_a_loss_that_is_not_finite_stops_the_run(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stepper, "backward", poison({5}))
    with pytest.raises(
        VidsslError,
        match=r"not finite at step 5, shown: .*\.avi frames \d+\.\.\d+; .*nonfinite\.jsonl lists them.*; lower lr",
    ):
        train(recipe, index, tmp_path / "run", steps=12, device="cpu", quiet=True)
    (line,) = (json.loads(text) for text in (tmp_path / "run" / "nonfinite.jsonl").read_text().splitlines())
    assert (line["step"], len(line["tuples"])) == (5, recipe.train.batch_size)
    for shown in line["tuples"]:
        assert (index.root / shown["path"]).is_file()
        assert torch.tensor(shown["frame"]).shape == (3, 8)
    weights = checkpoint.load_weights(checkpoint.find(tmp_path / "run"), "encoder")
    assert all(value.isfinite().all() for value in weights.values())


def test_such_steps_can_be_left_out(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, nonfinite="skip", log_every=1))
    monkeypatch.setattr(Stepper, "backward", poison({3, 6}))
    result = train(recipe, index, tmp_path / "run", steps=9, device="cpu", quiet=True)
    weights = checkpoint.load_weights(result.checkpoint, "encoder")
    assert all(value.isfinite().all() for value in weights.values())  # running statistics too
    assert result.metrics["train/skipped_steps"] == 2
    assert math.isfinite(result.metrics["val/loss"])
    assert [json.loads(text)["step"] for text in (tmp_path / "run" / "nonfinite.jsonl").read_text().splitlines()] == [
        3,
        6,
    ]
    found = [line for line in lines(tmp_path / "run") if "train/loss" in line]
    assert [line["step"] for line in found] == list(range(1, 10))
    assert [line["step"] for line in found if line["train/loss"] is None] == [3, 6]  # NaN is no JSON
    assert all(line["train/rejected"] == 0 for line in found)


def test_leaving_out_every_step_ends(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, nonfinite="skip", save_every=1000, val_every=1000))
    monkeypatch.setattr(Stepper, "backward", poison(set(range(1, 1000))))
    with pytest.raises(VidsslError, match="20 steps in a row were skipped"):
        train(recipe, index, tmp_path / "run", steps=300, device="cpu", quiet=True)


def shown(step: int, loss: list[float], grad_norm: float = 1.0) -> Shown:
    count = len(loss)
    frame = torch.arange(6).view(1, 2, 3).repeat(count, 1, 1)
    return Shown(step, torch.tensor(loss), torch.tensor(grad_norm), torch.arange(count), frame)


def test_finite_steps_pass(index: VideoIndex, tmp_path: Path) -> None:
    check_finite([], index, tmp_path / "n.jsonl")
    check_finite([shown(1, [0.5, 2.0]), shown(2, [0.0, 1.0])], index, tmp_path / "n.jsonl")
    assert not (tmp_path / "n.jsonl").exists()


def test_the_first_step_that_is_not_finite_is_named(index: VideoIndex, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    steps = [shown(1, [1.0, 1.0]), shown(2, [1.0, math.inf]), shown(3, [math.nan, 1.0])]
    with pytest.raises(VidsslError, match=rf"loss is not finite at step 2, shown: {paths[1]} frames 0..5; "):
        check_finite(steps, index, tmp_path / "n.jsonl")
    (line,) = (json.loads(text) for text in (tmp_path / "n.jsonl").read_text().splitlines())
    assert (line["step"], line["what"]) == (2, "loss")
    assert [one["loss"] for one in line["tuples"]] == [1.0, "inf"]


def test_every_tuple_is_suspect_of_a_gradient(index: VideoIndex, tmp_path: Path) -> None:
    with pytest.raises(
        VidsslError, match=r"gradient is not finite at step 4, shown: (\S+ frames 0..5; ){4}and 2 more tuples"
    ):
        check_finite([shown(4, [1.0] * 6, math.nan)], index, tmp_path / "n.jsonl")
