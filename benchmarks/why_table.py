"""The tables of what bench_why measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness import commit

WAYS = ("R@1", "R@1, not normalised", "R@1, centred", "R@1, standardised", "R@1, whitened", "5-NN", "linear")


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: for each set and method a row for each change: trained / untrained in percent, and the gain with its
    interval; and what the features consist of.
    """
    parts = []
    for line in lines:
        task = line["task"]
        about = (
            f"**{line['workload']}**: {line['encoder']}, {line['steps']} steps, seed {line['seed']}; "
            f"{line['videos']} videos, {line['groups']} groups, always the commonest class {100 * line['chance']:.1f}; "
            f"{100 * task['right']:.1f} % of {task['tuples']} held-out tuples right, "
            f"chance {100 * task['chance']:.1f}; commit {commit(line)}"
        )
        rows = [["what is changed", *WAYS], ["---"] * (1 + len(WAYS))]
        for name, ways in line["numbers"].items():
            rows.append([name, *(_gain_cell(ways[way]) for way in WAYS)])
        for name, right in line.get("low level", {}).items():
            rows.append([f"no encoder: {name}", *(f"{100 * right[way]:.1f}" for way in WAYS)])
        facts = [["features", *line["facts"]["trained"]], ["---"] * (1 + len(line["facts"]["trained"]))]
        for name, found in line["facts"].items():
            facts.append([name, *(f"{value:.1f}" if "rank" in key else f"{value:.2f}" for key, value in found.items())])
        tables = ["\n".join(f"| {' | '.join(row)} |" for row in part) for part in (rows, facts)]
        parts.append("\n\n".join([about, *tables]))
    return "\n\n".join(parts)


def _gain_cell(one: dict[str, float]) -> str:
    """Trained / untrained, and the gain (bold where its interval is on one side of zero)."""
    gain = f"{100 * one['gain']:+.1f}"
    gain = f"**{gain}**" if one["low"] > 0 or one["high"] < 0 else gain
    ends = f"({100 * one['low']:+.0f}, {100 * one['high']:+.0f})"
    return f"{100 * one['trained']:.1f} / {100 * one['untrained']:.1f}, {gain} {ends}"
