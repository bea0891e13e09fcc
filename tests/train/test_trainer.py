"""What the training loop does between its steps: validation, the best checkpoint, and its last words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.processes import lines
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.train.trainer import Trainer


def test_the_best_is_kept(index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    real = Trainer._look

    def look(self: Trainer, log: object, *, validates: bool, project: bool) -> bool:
        real(self, log, validates=validates, project=project)  # type: ignore[arg-type]
        loss = next(losses)
        if self.best is not None and self.best["val/loss"] <= loss and self.best["step"] > 2:
            return False
        self.best = {"step": self.step, "val/loss": loss}
        return True

    monkeypatch.setattr(Trainer, "_look", look)
    recipe = replace(recipe, train=replace(recipe.train, val_every=2, save_every=5, keep=1))
    result = train(recipe, index, tmp_path / "run", steps=10, device="cpu", quiet=True)
    assert result.best == tmp_path / "run" / "checkpoints" / "step_00000004"
    kept = [path.name for path in checkpoint.complete(tmp_path / "run")]
    assert kept == ["step_00000004", "step_00000010"]
    assert checkpoint.find(tmp_path / "run" / "checkpoints" / "best").resolve().name == "step_00000004"


def test_without_held_out_videos_nothing_is_best(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    result = train(
        replace(recipe, train=replace(recipe.train, holdout=0.0)),
        index,
        tmp_path / "run",
        steps=2,
        device="cpu",
        quiet=True,
    )
    assert result.best is None
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()
    assert "val/loss" not in result.metrics


def test_a_run_at_its_end_says_that_there_is_nothing_to_train(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe, index, tmp_path / "run", steps=3, device="cpu", quiet=True)
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    result = train(recipe, index, tmp_path / "run", steps=2, resume=True, device="cpu")
    said = capsys.readouterr().out
    assert "at step 3, past the end of the run at step 2; " in said
    assert "step_00000003 is at step 3, and the run ends at step 2; to train longer, take steps > 3" in said
    assert (result.step, result.checkpoint.name) == (3, "step_00000003")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_validation_is_where_the_settings_say(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, train=replace(recipe.train, val_every=2, log_every=100, save_every=100))
    train(recipe, index, tmp_path / "run", steps=5, device="cpu", quiet=True)
    assert [line["step"] for line in lines(tmp_path / "run") if "val/loss" in line] == [2, 4, 5]
