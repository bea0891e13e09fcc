"""The benchmark of long files measures them, and its windows and segments cost about the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.bench_long import MINUTE, main
from benchmarks.report import index_table


def test_a_file_and_its_segments_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    main(minutes=2, segments=4, windows=2, out=out)
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["workload"], line["frames"]) == ("2 minutes, 4 segments", 2 * MINUTE)
    assert index_table([line]).count("|") == 3 * 12
