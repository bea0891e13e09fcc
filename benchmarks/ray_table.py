"""The table of bench_ray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness import commit, lay


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each step: seconds of both engines, their ratio, and what Ray adds for each file."""
    rows = []
    for line in lines:
        local, ray = line["seconds"]["local"], line["seconds"]["ray"]
        added = f"{1000 * (ray - local) / line['files']:.1f}"
        cells = [f"{line['files']:,}", f"{local:.1f}", f"{ray:.1f}", f"{ray / local:.2f}", added]
        rows.append([line["workload"], *cells, "yes" if line["same bytes"] else "**no**", commit(line)])
    return lay(["step", "files", "local, s", "ray, s", "ray / local", "ms more a file", "same bytes", "commit"], rows)
