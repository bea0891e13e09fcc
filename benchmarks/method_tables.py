"""The tables of what methods and recipes learn, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from benchmarks.harness import commit, lay


def methods_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each method: held-out tuples answered right, mean and standard deviation over the seeds."""
    head = (
        "method",
        "encoder",
        "steps",
        "right, mean +- spread",
        "each seed",
        "balanced, mean",
        "chance",
        "seconds a run",
        "commit",
    )
    rows = []
    for line in lines:
        runs = line["runs"]
        rows.append(
            [
                line["workload"],
                runs[0]["encoder"],
                str(runs[0]["steps"]),
                f"**{line['mean']:.1%}** +- {line['spread']:.1%}",
                ", ".join(f"{run['accuracy']:.1%}" for run in runs),
                f"{sum(run['balanced'] for run in runs) / len(runs):.1%}",
                f"{line['chance']:.1%}",
                f"{sum(run['seconds'] for run in runs) / len(runs):.0f}",
                commit(line),
            ]
        )
    return lay(head, rows)


def representations_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each set and method: trained / untrained in percent; the gain, with its intervals over seeds
    [] and videos ().
    """
    found = list(lines)
    ways = list(found[-1]["numbers"])
    head = (
        "set, method",
        "encoder",
        "steps",
        "seeds",
        "tuples right (chance)",
        *(f"{way}: trained / untrained, gain" for way in ways),
        "commit",
    )
    rows = []
    for line in found:
        runs, cells = line["runs"], []
        for way in ways:
            trained, untrained, gain, pairs = (
                line["numbers"][way][name] for name in ("trained", "untrained", "gain", "pairs")
            )
            ends = "" if gain["low"] is None else f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
            ends += f" ({100 * pairs['low']:+.1f}, {100 * pairs['high']:+.1f})"
            cells.append(
                f"{100 * trained['value']:.1f} / {100 * untrained['value']:.1f}, **{100 * gain['value']:+.1f}**{ends}"
            )
        learnt = f"{100 * fmean(run['tuples right'] for run in runs):.1f} ({100 * runs[0]['chance']:.1f})"
        about = [line["workload"], runs[0]["encoder"], str(runs[0]["steps"]), str(len(runs)), learnt]
        rows.append([*about, *cells, commit(line)])
    return lay(head, rows)


def recipes_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each data set, recipe and length, of the groups that were set aside; then of the others, on
    which settings were chosen.
    """
    head = (
        "clips, variant, steps",
        "held-out tuples right",
        "tuples; videos; groups",
        "chance",
        "above chance from step",
        "training tuples right",
        "processor minutes",
        "commit",
    )
    rows = []
    for line in sorted(lines, key=lambda line: "test groups" not in line["workload"]):
        cells = [
            line["workload"],
            f"**{100 * line['accuracy']:.1f}** [{100 * line['low']:.1f}, {100 * line['high']:.1f}]",
            f"{line['tuples']}; {line['videos']}; {line['groups']}",
            f"{100 * line['chance']:.1f}",
            str(line["left chance"] or "never"),
            f"{100 * line['train/accuracy']:.1f}",
            "" if line["cpu minutes"] is None else f"{line['cpu minutes']:.1f}",
        ]
        rows.append([*cells, commit(line)])
    return lay(head, rows)


def features_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each size of a feature: seconds on the wall and of processors, and MiB above the features, of
    each evaluation.
    """
    found = list(lines)
    steps = list(found[-1]["seconds"])
    head = (
        "features",
        "videos",
        "MiB of features",
        *(f"{step}: s, processor s (MiB)" for step in steps),
        "all, s",
        "processor s",
        "commit",
    )
    rows = []
    for line in found:
        spent = line["processor seconds"]
        cells = [
            f"{line['seconds'][step]:.1f}, {spent[step]:.1f} ({line['MiB above the features'][step]})" for step in steps
        ]
        about = [line["workload"], f"{line['videos']:,}", str(line["MiB of features"])]
        total = [f"**{sum(line['seconds'].values()):.1f}**", f"{sum(spent.values()):.1f}"]
        rows.append([*about, *cells, *total, commit(line)])
    return lay(head, rows)
