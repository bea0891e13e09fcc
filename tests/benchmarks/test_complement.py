"""A supervised encoder, the probe and the test groups of bench_complement share no group; a run is asked once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_complement, bench_time
from benchmarks.complement_table import table
from benchmarks.report import read
from benchmarks.time_sets import read_sets
from tests.benchmarks.clips import labelled_set
from vidssl.types import VidsslError


def test_a_run_beside_a_supervised_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled_set(tmp_path / "data", "tennis", per_group=2)
    data, keep, out = tmp_path / "data", tmp_path / "keep", tmp_path / "out"
    how: dict[str, Any] = {"data": data, "keep": keep, "methods": ("opn_tiny",), "ask": ("tennis",)}
    with pytest.raises(VidsslError, match="no run inductive-opn_tiny-0; train it with"):
        bench_complement.main(**how, seeds=1)

    sets = read_sets(data, None, keep, asked=("tennis",), fraction=1 / 3)
    parts = [*bench_complement.halves(sets, "tennis"), sets.asked["tennis"]]
    assert [len(part) for part in parts] == [4, 4, 4]
    groups = [set(sets.index.select(part).column("group").to_pylist()) for part in parts]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 6

    bench_time.main(**how, forms=("inductive",), quick=True)
    bench_complement.main(**how, seeds=1, steps=2, out=out)
    (line,) = (json.loads(text) for path in out.iterdir() for text in path.read_text().splitlines())
    found = line["sets"]["tennis"]
    assert list(found["numbers"]) == ["A", "A untrained", "B", "A + B", "A untrained + B"]
    assert sum(found["sizes"]) == 4
    assert "opn_tiny" in table(read(out))
    capsys.readouterr()
    bench_complement.main(**how, seeds=1, steps=2, out=out)
    assert "have it already" in "".join(capsys.readouterr())
