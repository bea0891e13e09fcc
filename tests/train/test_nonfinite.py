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
        match=r"not finite at step 5, shown: .*\.avi frames \d+\.\.\d+; .*nonfinite\.jsonl lists them all\. "
        r"The latest checkpoint is .*step_00000004, from which --resume continues; lower lr",
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


def test_without_a_checkpoint_the_same_command_begins_anew(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    recipe = replace(recipe, train=replace(recipe.train, log_every=1))
    whole = train(recipe, index, tmp_path / "whole", steps=2, device="cpu", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "backward", poison({2}))
        for _ in range(2):  # the first try does not block the second one
            with pytest.raises(VidsslError, match="The run has made no checkpoint yet, so the same command without"):
                train(recipe, index, out, steps=2, device="cpu", quiet=True)
            assert len((out / "nonfinite.jsonl").read_text().splitlines()) == 1  # of this try alone
    again = train(recipe, index, out, steps=2, device="cpu", quiet=True)
    assert not (out / "nonfinite.jsonl").exists()
    assert [line["step"] for line in lines(out)] == [line["step"] for line in lines(tmp_path / "whole")]
    weights = [checkpoint.load_weights(result.checkpoint, "encoder") for result in (whole, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    with pytest.raises(VidsslError, match="not empty; --resume continues the run in it, or take another out"):
        train(recipe, index, out, steps=2, device="cpu", quiet=True)


def shown(step: int, loss: list[float], grad_norm: float = 1.0) -> Shown:
    count = len(loss)
    frame = torch.arange(6).view(1, 2, 3).repeat(count, 1, 1)
    return Shown(step, torch.tensor(loss), torch.tensor(grad_norm), torch.arange(count), frame)


def test_finite_steps_pass(index: VideoIndex, tmp_path: Path) -> None:
    check_finite([], index, tmp_path / "n.jsonl", str)
    check_finite([shown(1, [0.5, 2.0]), shown(2, [0.0, 1.0])], index, tmp_path / "n.jsonl", str)
    assert not (tmp_path / "n.jsonl").exists()


def test_the_first_step_that_is_not_finite_is_named(index: VideoIndex, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    steps = [shown(1, [1.0, 1.0]), shown(2, [1.0, math.inf]), shown(3, [math.nan, 1.0])]
    with pytest.raises(VidsslError, match=rf"loss is not finite at step 2, shown: {paths[1]} frames 0..5; "):
        check_finite(steps, index, tmp_path / "n.jsonl", str)
    (line,) = (json.loads(text) for text in (tmp_path / "n.jsonl").read_text().splitlines())
    assert (line["step"], line["what"]) == (2, "loss")
    assert [one["loss"] for one in line["tuples"]] == [1.0, "inf"]


def test_every_tuple_is_suspect_of_a_gradient(index: VideoIndex, tmp_path: Path) -> None:
    with pytest.raises(
        VidsslError, match=r"gradient is not finite at step 4, shown: (\S+ frames 0..5; ){4}and 2 more tuples"
    ):
        check_finite([shown(4, [1.0] * 6, math.nan)], index, tmp_path / "n.jsonl", str)
