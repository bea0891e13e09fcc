"""What must not end a run in silence: a loader that hangs, a loss that is not finite, a full disk."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.processes import ROOT, finish, lines, start
from vidssl.stages.index import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.guard import HUNG
from vidssl.train.loop import train
from vidssl.train.run import Run
from vidssl.train.step import Stepped, Stepper
from vidssl.types import Batch, VidsslError

HANGS = """
import sys, time
from pathlib import Path
from vidssl.loader import fetch
from vidssl.cli import main
real = fetch.fused

def hangs(video, *rest, **options):
    if video.path.name == "4_g1.avi":
        time.sleep(3600)
    return real(video, *rest, **options)

fetch.fused = hangs
sys.exit(main(sys.argv[1:]))
"""


def test_a_loader_that_hangs_is_named_and_ends_the_run(index: VideoIndex, tmp_path: Path) -> None:
    small = ("--clip-length", "8", "--interval", "2", "--resize", "24", "32", "--crop", "16", "16", "--batch-size", "4", "--workers", "1")
    command = [sys.executable, "-c", HANGS, "train", "vcop_r3d_tiny", "--data", str(index.root), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *small, "--steps", "50", "--timeout", "2", "--threads", "1", "--amp", "off", "--holdout", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == HUNG, done.stderr
    assert "timeout=2: the loader gave nothing" in done.stderr
    assert "4_g1.avi frames" in done.stderr
    assert "in hangs" in done.stderr  # where the worker is


def poison(steps: set[int]) -> object:
    """Stepper.backward whose loss is not a number in those steps."""
    real = Stepper.backward

    def backward(self: Stepper, batch: Batch, step: int) -> Stepped:
        if step + 1 in steps:
            clips = batch.clips.clone()
            clips[1] = math.nan
            batch = batch._replace(clips=clips)
        return real(self, batch, step)

    return backward


def test_a_loss_that_is_not_finite_stops_the_run(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(Stepper, "backward", poison({5}))
    with pytest.raises(VidsslError, match=r"not finite at step 5, shown: .*\.avi frames \d+\.\.\d+; .*nonfinite\.jsonl; lower lr"):
        train(recipe, index, tmp_path / "run", steps=12, device="cpu", quiet=True)
    (line,) = (json.loads(text) for text in (tmp_path / "run" / "nonfinite.jsonl").read_text().splitlines())
    assert (line["step"], len(line["tuples"])) == (5, recipe.train.batch_size)
    for shown in line["tuples"]:
        assert (index.root / shown["path"]).is_file()
        assert torch.tensor(shown["frame"]).shape == (3, 8)
    weights = checkpoint.load_weights(checkpoint.find(tmp_path / "run"), "encoder")
    assert all(value.isfinite().all() for value in weights.values())


def test_such_steps_can_be_left_out(index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(recipe, train=replace(recipe.train, nonfinite="skip", log_every=1))
    monkeypatch.setattr(Stepper, "backward", poison({3, 6}))
    result = train(recipe, index, tmp_path / "run", steps=9, device="cpu", quiet=True)
    weights = checkpoint.load_weights(result.checkpoint, "encoder")
    assert all(value.isfinite().all() for value in weights.values())  # running statistics too
    assert result.metrics["train/skipped_steps"] == 2
    assert math.isfinite(result.metrics["val/loss"])
    assert [json.loads(text)["step"] for text in (tmp_path / "run" / "nonfinite.jsonl").read_text().splitlines()] == [3, 6]
    found = [line for line in lines(tmp_path / "run") if "train/loss" in line]
    assert [line["step"] for line in found] == list(range(1, 10))
    assert [line["step"] for line in found if line["train/loss"] is None] == [3, 6]  # NaN is no JSON
    assert all(line["train/rejected"] == 0 for line in found)


def test_leaving_out_every_step_ends(index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(recipe, train=replace(recipe.train, nonfinite="skip", save_every=1000, val_every=1000))
    monkeypatch.setattr(Stepper, "backward", poison(set(range(1, 1000))))
    with pytest.raises(VidsslError, match="20 steps were left out one after the other"):
        train(recipe, index, tmp_path / "run", steps=300, device="cpu", quiet=True)


def test_a_full_disk_leaves_the_checkpoints_before(index: VideoIndex, tmp_path: Path) -> None:
    """Real writes that fail: no file may grow over a bound that checkpoints are above."""
    run = tmp_path / "run"
    options = ("--save-every", "2", "--val-every", "100", "--keep", "3")
    finish(start(index.root, run, "--steps", "4", *options))
    before = checkpoint.complete(run)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    _, error = finish(start(index.root, run, "--steps", "8", *options, "--resume", before=bound), code=2)
    assert "checkpoint step_00000006 cannot be written: " in error
    assert "those before it are whole, and --resume continues" in error
    assert checkpoint.complete(run) == before
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")] == []
    finish(start(index.root, run, "--steps", "8", *options, "--resume"))
    assert checkpoint.find(run).name == "step_00000008"


def test_the_best_is_kept(index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    real = Run._validate

    def validate(self: Run, log: object, *, project: bool) -> bool:
        real(self, log, project=project)  # type: ignore[arg-type]
        loss = next(losses)
        if self.best is not None and self.best["val/loss"] <= loss and self.best["step"] > 2:
            return False
        self.best = {"step": self.step, "val/loss": loss}
        return True

    monkeypatch.setattr(Run, "_validate", validate)
    recipe = replace(recipe, train=replace(recipe.train, val_every=2, save_every=5, keep=1))
    train(recipe, index, tmp_path / "run", steps=10, device="cpu", quiet=True)
    kept = [path.name for path in checkpoint.complete(tmp_path / "run")]
    assert kept == ["step_00000004", "step_00000010"]
    assert checkpoint.find(tmp_path / "run" / "checkpoints" / "best").resolve().name == "step_00000004"
