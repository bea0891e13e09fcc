"""The table of what bench_complement measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.harness import commit, lay
from benchmarks.time_tables import ends, gains

GAINS = (("A + B", "B"), ("A + B", "A untrained + B"))


def table(lines: Iterable[dict[str, Any]]) -> str:
    """A row for each method and set, in percent: every side, and what A adds. Means over the seeds."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        for name in line["sets"]:
            by.setdefault((line["method"], name), []).append(line)
    sides = list(next(iter(next(iter(by.values()))[0]["sets"].values()))["numbers"])
    rows = []
    for (method, name), some in by.items():
        found = [line["sets"][name] for line in some]
        cells = [f"{100 * np.mean([one['numbers'][side]['linear'] for one in found]):.1f}" for side in sides]
        commits = ", ".join(dict.fromkeys(commit(line) for line in some))
        rows.append([method, name, str(len(some)), *cells, *(_gain(found, *pair) for pair in GAINS), commits])
    heads = [f"{more} over {less}" for more, less in GAINS]
    return lay(["method", "set", "seeds", *sides, *heads, "commit"], rows)


def _gain(found: list[dict[str, Any]], more: str, less: str) -> str:
    """The gain; in [] Student's interval over the seeds, in () that over the groups of all seeds."""
    seeds, groups = gains(found, more, less, "linear")
    return f"{100 * seeds.value:+.1f}{ends('[]', seeds)}{ends('()', groups)}"
