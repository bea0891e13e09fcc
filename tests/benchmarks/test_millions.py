"""bench_millions makes rows that lead to real files, and its steps run on them; its table divides by the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bench_millions import STEPS, known, make, measure
from benchmarks.millions_table import table
from vidssl import VideoIndex


def test_every_step_runs(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.bench_millions._WINDOWS", 20)
    make(tmp_path, index.root, 333)
    found = VideoIndex.load(tmp_path / "index.arrow")
    assert len(set(found.column("path").to_pylist())) == len(found) == 333
    assert found.is_current()
    for step in STEPS:
        assert measure(step, tmp_path)["processor seconds"] > 0, step.__name__
    assert VideoIndex.build(tmp_path / "videos.csv", known=found, progress=False).table.equals(found.table)
    (tmp_path / "000001").unlink()
    with pytest.raises(AssertionError):
        known(tmp_path)


def test_rows() -> None:
    about = {"bench": "millions", "rows": 1_000_000, "commit": "0123456789", "changed": True}
    text = table([{**about, "step": "Open", "seconds": 3.04, "processor seconds": 1.5, "memory, MiB": 100.4}])
    assert text.splitlines()[2:] == ["| Open | 1,000,000 | 3.0 | 1.5 | 100 | 1.5 | 105 | 0123456* |"]
