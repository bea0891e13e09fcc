"""The table of what bench_complement measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.harness import commit
from benchmarks.store_tables import lay
from vidssl.evaluate.confidence import Estimate, gain_of_groups, mean

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
    """The gain; in [] Student's interval over the seeds, in () that of a paired bootstrap over all seeds' groups."""
    seeds = mean([one["numbers"][more]["linear"] - one["numbers"][less]["linear"] for one in found])
    difference = np.sum(
        [np.subtract(one["right"][more]["linear"], one["right"][less]["linear"]) for one in found], axis=0
    )
    groups = gain_of_groups(difference, np.sum([one["sizes"] for one in found], axis=0))
    return f"{100 * seeds.value:+.1f} {_ends('[]', seeds)} {_ends('()', groups)}"


def _ends(brackets: str, of: Estimate) -> str:
    if of.low is None or of.high is None:
        return ""
    return f"{brackets[0]}{100 * of.low:+.1f}, {100 * of.high:+.1f}{brackets[1]}"
