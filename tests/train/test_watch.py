"""What is measured of held-out features while training: right on made features, a collapse is seen, health is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vidssl.index.table import VideoIndex
from vidssl.models.base import Encoder
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.train.watch import COLLAPSED, Watch, knn_accuracy, rank_me, spread


def test_rank_me_counts_directions() -> None:
    assert rank_me(torch.ones(50, 8)) == pytest.approx(1, abs=1e-4)
    assert rank_me(torch.eye(8)) == pytest.approx(8, abs=1e-3)
    two = torch.zeros(40, 8)
    two[:20, 0] = two[20:, 1] = 1
    assert rank_me(two) == pytest.approx(2, abs=1e-3)
    random = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(random.double())
    fraction = values / values.sum()
    assert rank_me(random) == pytest.approx(float(torch.exp(-(fraction * fraction.log()).sum())), rel=1e-3)


def test_spread_is_of_directions() -> None:
    assert spread(torch.arange(1, 9.0)[:, None] * torch.ones(1, 4)) == pytest.approx(0, abs=1e-7)
    random = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0))
    assert spread(random) == pytest.approx(1, abs=0.02)


def test_neighbours_come_from_other_groups() -> None:
    features = torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [0.01, 1]])
    assert knn_accuracy(features, ["a", "a", "b", "b"], ["1", "2", "3", "4"]) == 1
    assert knn_accuracy(features, ["a", "a", "b", "b"], ["1", "1", "2", "2"]) == 0
    assert knn_accuracy(features, ["a", None, "b", "b"], ["1", "2", "3", "4"]) is None
    assert knn_accuracy(features, ["a"] * 4, ["1", "2", "3", "4"]) is None


def test_features_that_are_not_finite_are_not_measured(index: VideoIndex) -> None:
    watch = Watch(index)
    assert watch.values() == {}
    watch.add(torch.full((2, 3, 4), torch.nan), torch.tensor([0, 1]))
    assert watch.values() == {}


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_watching_is_apart_from_validating(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    settings = replace(recipe.train, watch=1, val_every=100, log_every=100, save_every=100)
    train(replace(recipe, train=settings), index, tmp_path / "run", steps=3, device="cpu", quiet=True)
    seen = [(line["step"], "watch/rank" in line, "val/loss" in line) for line in lines(tmp_path / "run")]
    assert seen == [(1, True, False), (2, True, False), (3, False, False), (3, True, True)]
    without = replace(settings, watch=100)
    train(replace(recipe, train=without), index, tmp_path / "other", steps=3, device="cpu", quiet=True)
    drop = ("seconds", "train/clips_per_second", "train/frames_per_second", "train/data_wait", "train/queue_depth")
    last = [
        {name: value for name, value in lines(tmp_path / run)[-1].items() if name not in drop}
        for run in ("run", "other")
    ]
    assert last[0] == last[1]  # watching changes no bits


def test_a_collapse_is_named_once_and_health_is_not(
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched = replace(recipe, train=replace(recipe.train, watch=1, val_every=100))
    train(watched, index, tmp_path / "healthy", steps=3, device="cpu")
    assert "collapsed" not in capsys.readouterr().out
    assert lines(tmp_path / "healthy")[-1]["watch/spread"] > COLLAPSED
    real = Encoder.forward

    def same(self: Encoder, clips: torch.Tensor) -> torch.Tensor:
        features = real(self, clips)
        return features * 1e-6 + 1

    monkeypatch.setattr(Encoder, "forward", same)
    train(watched, index, tmp_path / "collapsed", steps=3, device="cpu")
    assert capsys.readouterr().out.count("the encoder has collapsed") == 1


def test_an_encoder_that_weight_decay_ruins_is_named(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is replaced here: a decay that halves every weight in each step leaves nothing of the features."""
    ruined = replace(recipe.train, watch=10, val_every=100, optimizer="sgd", lr=0.05, weight_decay=10.0, momentum=0.0)
    train(replace(recipe, train=ruined), index, tmp_path / "ruined", steps=60, device="cpu")
    assert capsys.readouterr().out.count("the encoder has collapsed") == 1
    first, *_, last = (line for line in lines(tmp_path / "ruined") if "watch/spread" in line)
    assert first["watch/spread"] > last["watch/spread"]
    assert last["watch/spread"] < COLLAPSED


def test_a_task_that_stays_at_chance_is_named_once(
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("vidssl.train.heldout.LEARNS_BY", 3)
    slow = replace(recipe, train=replace(recipe.train, val_every=1, lr=1e-9))
    train(slow, index, tmp_path / "run", steps=5, device="cpu")
    said = capsys.readouterr().out.splitlines()
    (chance,) = {line["val/chance"] for line in lines(tmp_path / "run") if "val/chance" in line}  # the same tuples
    assert chance >= 1 / 2  # of two tuples
    warnings = [line for line in said if f"is no more than chance ({chance:.1%})" in line]
    assert [line.split(":")[1].strip() for line in warnings] == ["step 3"]
