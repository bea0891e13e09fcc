"""The tables of what bench_time measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np

from benchmarks.harness import commit, lay
from vidssl.evaluate.confidence import Estimate, gain_of_groups, mean

Line = dict[str, Any]
GRID = "frame difference"  # the low-level feature with which encoders are compared
_SEEDS = 3  # an interval over fewer seeds says nothing
PROBES = {"attentive": "linear"}  # a probe that low-level features cannot have: the one of theirs beside it


def table(lines: Iterable[Line]) -> str:
    """For each form and set a table: a row for each method, trained / untrained in percent, and the gain."""
    parts = []
    for form, group in groupby(sorted(lines, key=lambda line: str(line["form"])), lambda line: str(line["form"])):
        found = list(group)
        low = next((line for line in found if line["method"] == "low level"), None)
        runs = [line for line in found if line["method"] != "low level"]
        used = [*runs, low] if low else runs
        for name in dict.fromkeys(name for line in used for name in line["sets"]):
            sizes = next(line["sets"][name]["sizes"] for line in used if name in line["sets"])
            about = f"**{form}, {name}** ({sum(sizes)} answers in {len(sizes)} groups)"
            parts.append(f"{about}\n\n{_set_table(name, runs, low)}")
    return "\n\n".join(parts)


def _set_table(name: str, runs: list[Line], low: Line | None) -> str:
    """A table of one set in one form."""
    runs = [line for line in runs if name in line["sets"]]
    low_level: Line | None = low["sets"].get(name) if low else None
    plain: dict[str, dict[str, float]] = low_level["numbers"] if low_level else {}
    asked = [line["sets"][name]["numbers"]["trained"] for line in runs] or [next(iter(plain.values()))]
    ways = list(dict.fromkeys(way for numbers in asked for way in numbers))  # some runs were asked in more ways
    rows = []
    for feature, numbers in plain.items():
        cells = [f"{100 * numbers[way]:.1f}" if way in numbers else "" for way in ways]
        rows.append([feature, "", "", *cells, commit(low) if low else ""])
    for method, steps in dict.fromkeys((line["method"], line["steps"]) for line in runs):
        some = [line for line in runs if (line["method"], line["steps"]) == (method, steps)]
        of = [line["sets"][name] for line in some]
        numbers = of[0]["numbers"].get("low level", {})
        if numbers and f"low level, {method}" not in (row[0] for row in rows):
            rows.append([f"low level, {method}", "", "", *(f"{100 * numbers[way]:.1f}" for way in ways), ""])
        commits = ", ".join(dict.fromkeys(commit(line) for line in some))
        known = set.intersection(*(set(one["numbers"]["trained"]) for one in of))
        cells = [_cell(of, low_level, way) if way in known else "" for way in ways]
        rows.append([method, str(len(some)), str(steps), *cells, commits])
    return lay(["method", "seeds", "steps", *ways, "commit"], rows)


def _cell(of: list[Line], low_level: Line | None, way: str) -> str:
    """Trained / untrained, the gain (bold where it is above zero in both intervals) and the gain over GRID.

    In [] is Student's interval over three seeds or more, in () that over the groups of all seeds (`gain_of_groups`).
    """
    trained, untrained = ([one["numbers"][name][way] for one in of] for name in ("trained", "untrained"))
    seeds, groups = gains(of, "trained", "untrained", way)
    if len(of) < _SEEDS:
        seeds = Estimate(seeds.value)
    sure = seeds.low is not None and min(seeds.low, groups.low or 0.0) > 0
    gain = f"**{100 * seeds.value:+.1f}**" if sure else f"{100 * seeds.value:+.1f}"
    gain += ends("[]", seeds) + ends("()", groups)
    text = f"{100 * np.mean(trained):.1f} / {100 * np.mean(untrained):.1f}, {gain}"
    plain = PROBES.get(way, way.removeprefix("map: "))
    same = low_level is not None and low_level["sizes"] == of[0]["sizes"]
    if low_level is None or not same or plain not in low_level["right"][GRID]:
        return text
    after = _sums(of, "trained", way)
    grid = gain_of_groups(after - len(of) * np.array(low_level["right"][GRID][plain]), _sizes(of))
    how = f" ({plain})" if way in PROBES else ""
    return f"{text}; over {GRID}{how} {100 * grid.value:+.1f}{ends('()', grid)}"


def gains(of: list[Line], more: str, less: str, way: str) -> tuple[Estimate, Estimate]:
    """The gain of one row of numbers over another: over the seeds, and over the groups of all seeds."""
    seeds = mean([one["numbers"][more][way] - one["numbers"][less][way] for one in of])
    return seeds, gain_of_groups(_sums(of, more, way) - _sums(of, less, way), _sizes(of))


def ends(brackets: str, of: Estimate) -> str:
    """An interval in percent, with a space before it; nothing if there is none, as of one seed."""
    if of.low is None or of.high is None:
        return ""
    return f" {brackets[0]}{100 * of.low:+.1f}, {100 * of.high:+.1f}{brackets[1]}"


def _sums(of: list[Line], name: str, way: str) -> Any:
    """[G]: right answers of each group, summed over the seeds."""
    return np.sum([one["right"][name][way] for one in of], axis=0)


def _sizes(of: list[Line]) -> Any:
    """[G]: answers of each group, summed over the seeds."""
    return np.sum([one["sizes"] for one in of], axis=0)
