"""The features benchmark measures what it says, on fewer videos."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_features
from benchmarks.bench_features import made, measure, watched
from benchmarks.method_tables import features_table


def test_classes_can_be_told_but_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_features, "TRAIN", 600)
    monkeypatch.setattr(bench_features, "TEST", 200)
    monkeypatch.setattr(bench_features, "CLASSES", 10)
    found = measure(64)
    assert all(0.15 < share < 1 for share in found["right"].values())
    assert set(found["seconds"]) == set(found["MiB above the features"]) == {"retrieval", "5-NN", "linear probe"}
    line = {"workload": "64 numbers a video", "videos": 800, "commit": "0123456789", "changed": False, **found}
    assert "| 64 numbers a video | 800 |" in features_table([json.loads(json.dumps(line))])


def test_features_are_the_seeds() -> None:
    assert (made(50, 16, 1).feature == made(50, 16, 1).feature).all()
    assert not (made(50, 16, 1).feature == made(50, 16, 2).feature).all()


def test_memory_is_watched(tmp_path: Path) -> None:
    def work() -> int:
        held = np.ones(256 * 2**20, np.uint8)
        time.sleep(0.3)  # seen, whatever else the machine does
        return int(held[-1])

    gc.collect()  # what earlier tests left must not go away meanwhile
    result, spent, grown = watched(work)
    assert result == 1
    assert spent.wall > 0
    assert grown > 100
