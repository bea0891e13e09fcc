"""The table of bench_millions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness import commit, lay


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each step: its time, what a row takes of it, and the memory of the process."""
    rows = []
    for line in lines:
        used, memory = line["processor seconds"], line["memory, MiB"]
        each = [f"{1e6 * used / line['rows']:.1f}", f"{2**20 * memory / line['rows']:.0f}"]
        cells = [f"{line['rows']:,}", f"{line['seconds']:.1f}", f"{used:.1f}", f"{memory:.0f}", *each]
        rows.append([line["step"], *cells, commit(line)])
    head = ["step", "rows", "s", "processor s", "memory, MiB", "us a row", "bytes a row", "commit"]
    return lay(head, rows)
