"""Two runs, of which the first was evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl import VideoIndex
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import View, load_run
from vidssl.evaluate.splits import make_splits
from vidssl.train.config import Recipe
from vidssl.train.train import train


@pytest.fixture(scope="module")
def runs(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        train(recipe, index, root / name, steps=4, device="cpu", quiet=True)
    run = load_run(root / "first")
    data = make_splits(run.recipe, run.trained_on, index)
    evaluate_retrieval(run, data, view=View(clips=2), ks=(1,), device="cpu", progress=False)
    evaluate_probe(run, data, view=View(clips=2), device="cpu", progress=False)
    return [root / "first", root / "second"]
