"""A layer is chosen on the training groups alone, and the kept runs are asked with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bench_time, bench_time_layer
from benchmarks.bench_time_layer import choose, training_scores
from benchmarks.report import read
from benchmarks.time_sets import Sets
from benchmarks.time_tables import table
from tests.benchmarks.clips import labelled_set
from vidssl.evaluate.features import Features
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError

GOOD, POOR = ("stages.1", "map"), ("stages.3", "avg")


def features(labels: list[str], known: np.ndarray[Any, Any], *, seed: int) -> Features:
    """Features of 24 clips in 12 groups that tell the label where `known` is true, and are noise elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), 4, generator=generator)
    sign = torch.tensor([[1.0 if label == "a" else -1.0] for label in labels])
    feature = torch.where(torch.from_numpy(known)[:, None], 5 * sign + noise, noise)
    return Features(feature, list(labels), np.arange(len(labels)), [str(row // 2) for row in range(len(labels))])


def test_test_groups_have_no_part_in_the_choice() -> None:
    labels = ["ab"[row % 2] for row in range(24)]
    test = np.arange(24) >= 16
    sets = Sets(index=None, rows={"x": np.arange(24)}, asked={"x": np.flatnonzero(test)})  # type: ignore[arg-type]
    found = {GOOD: features(labels, ~test, seed=0), POOR: features(labels, test, seed=1)}
    scores = training_scores([found], sets, "x")
    assert choose({"x": scores}) == GOOD
    assert scores[GOOD] == 1

    mixed = [label if not test[row] else "ab"[(row // 2) % 2] for row, label in enumerate(labels)]
    other = {key: one._replace(label=list(mixed)) for key, one in found.items()}
    assert training_scores([other], sets, "x") == scores

    swapped = ["ab"[(row // 2) % 2] for row in range(24)]
    third = {key: one._replace(label=list(swapped)) for key, one in found.items()}
    assert training_scores([third], sets, "x") != scores  # labels of the training groups do


def test_the_kept_runs_are_asked(tmp_path: Path) -> None:
    labelled_set(tmp_path / "data", "tennis", per_group=2)
    how: dict[str, Any] = {
        "data": tmp_path / "data",
        "keep": tmp_path / "keep",
        "methods": ("opn_tiny",),
        "ask": ("tennis",),
        "forms": ("inductive",),
    }
    with pytest.raises(VidsslError, match="no run inductive-opn_tiny-0; train it with"):
        bench_time_layer.main(**how, seeds=1)
    bench_time.main(**how, quick=True)
    bench_time_layer.main(**how, seeds=1, out=tmp_path / "out")
    low, line = (json.loads(text) for path in (tmp_path / "out").iterdir() for text in path.read_text().splitlines())
    assert low["method"] == "low level"
    scores = {name: one["tennis"] for name, one in line["training groups"].items()}
    assert len(scores) == 10  # five layers, each as a mean and as a grid
    assert line["method"] == f"opn_tiny, {max(scores, key=lambda name: scores[name])}"
    asked = line["sets"]["tennis"]
    assert sum(asked["sizes"]) == len(VideoIndex.load(tmp_path / "keep" / "clips.arrow", allow_outside=True)) // 3
    assert line["method"] in table(read(tmp_path / "out"))
