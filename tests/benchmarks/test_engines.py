"""The benchmark of engines runs every case."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.bench_engines import GRAPH, INLINE, MEASURED, main
from tests.clips import make_clip


def test_every_case_is_measured(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=40, gop=20)
    out = tmp_path / "found.jsonl"
    main(data=(tmp_path / "a.mp4",), recipes=("opn_tiny",), out=out, workers=(1,), repeats=1, batches=1, windows=2)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["workload"].split(", ")[1] for line in lines] == ["decoded", "kept at 240x320", "kept at 128x171"]
    assert set(lines[0]["wall"]) == {INLINE, GRAPH}
    assert set(lines[1]["wall"]) == set(lines[2]["wall"]) == {INLINE, MEASURED, GRAPH}
