"""Runs side by side: what differs, how far each came, one picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.report.table import differences, draw, find_runs, text
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError


@pytest.fixture(scope="module")
def folder(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    train(recipe, index, root / "slow", steps=4, device="cpu", quiet=True)
    fast = replace(recipe, train=replace(recipe.train, lr=0.02))
    train(fast, index, root / "tried" / "fast", steps=8, device="cpu", quiet=True)
    return root


def test_what_differs_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(folder)]) == 0
    said = capsys.readouterr().out
    found = find_runs(folder)
    assert [run.name for run in found] == ["slow", "tried/fast"]
    assert [run.step for run in found] == [run.saved for run in found] == [4, 8]
    assert differences(found) == {"train.lr": [0.01, 0.02], "train.steps": [4, 8]}
    assert "  train.steps  4 (slow); 8 (tried/fast)\n  train.lr     0.01 (slow); 0.02 (tried/fast)\n" in said
    assert Image.open(folder / "runs.png").size[0] > 1000


def test_the_best_is_the_lowest_validation(folder: Path) -> None:
    run = find_runs(folder / "tried")[0]
    losses = [loss for _, loss in run.curves["val/loss"]]
    assert len(losses) == 2
    assert run.best()[0] == min(losses)
    assert f"{min(losses):.4f}" in text([run])


def test_a_log_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    line = json.dumps({"step": 3, "train/loss": 1.5, "train/accuracy": float("nan")})
    (tmp_path / "metrics.jsonl").write_text(f'{line}\n{{"step": 4, "tra')
    run = find_runs(tmp_path)[0]
    assert (run.step, run.saved, run.last("train/loss"), run.last("train/accuracy"), run.best()[0]) == (
        3,
        None,
        1.5,
        None,
        None,
    )
    draw([run], tmp_path / "one.png")
    assert "no setting differs" not in text([run])


def test_no_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="no run in it or below"):
        find_runs(tmp_path)
    with pytest.raises(VidsslError, match="no such folder"):
        find_runs(tmp_path / "none")


def test_a_run_whose_description_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "run.json").write_text("null")
    with pytest.raises(VidsslError, match=r"run\.json cannot be read \(it is not the description of a run\)"):
        find_runs(tmp_path)


def test_values_are_shown_once_with_the_runs_that_have_them(tmp_path: Path) -> None:
    for number in range(6):
        run = tmp_path / f"run{number}"
        run.mkdir()
        (run / "metrics.jsonl").touch()
        recipe = {"method": "vcop", "train": {"lr": 0.1 if number < 4 else 0.2, "seed": number % 2}}
        about = {"recipe": recipe, "fixed": {"finetune.init": "checkpoint"} if number == 5 else {}}
        (run / "run.json").write_text(json.dumps(about))
    said = text(find_runs(tmp_path)).splitlines()
    assert said[said.index("settings that differ:") + 1 :] == [
        "  method      vcop (5 runs); vcop, fine-tuned (run5)",
        "  train.lr    0.1 (4 runs); 0.2 (run4, run5)",
        "  train.seed  0 (run0, run2, run4); 1 (run1, run3, run5)",
    ]
