"""The tables of what was measured from the video to the batch, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import geometric_mean, median
from typing import Any

from benchmarks.harness import commit, lay

MOTION_HEAD = (
    "clip",
    "frames",
    "rank correlation",
    "upper half by our motion: weighted",
    "even",
    "z",
    "by Farneback: weighted",
    "even",
    "z",
    "vidssl, ms a frame",
    "Farneback, ms",
    "vidssl is faster by",
    "commit",
)
BOUND = "bare PyAV (bound)"


def motion_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each clip. "even" is what was drawn without weights; z stands for the weighted draws (z of
    the even ones).
    """
    rows = []
    for line in lines:
        facts, (other, ratio) = line["facts"], next(iter(line["speedup"].items()))
        shares = []
        for ranking in ("our motion", "Farneback"):
            half = facts[f"upper half by {ranking}"]
            shares += [
                f"{half['motion']:.3f}",
                f"{half['uniform']:.3f}",
                f"{half['z motion']:.1f} ({half['z uniform']:.1f})",
            ]
        rows.append(
            [
                line["workload"],
                facts["frames"],
                f"**{facts['spearman']:.2f}**",
                *shares,
                f"{line['wall'][line['subject']]['median']:.3g}",
                f"{line['wall'][other]['median']:.3g}",
                f"{ratio['median']:.0f}",
                commit(line),
            ]
        )
    return lay(MOTION_HEAD, rows)


def motion_sizes_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each size, of the line about all clips and of the lines of the clips."""
    *clips, whole = (line["facts"] for line in lines)
    head = (
        "size",
        "rank correlation, median",
        "falls by, median",
        "by more than 0.05",
        "at most by",
        "drawn in the upper half by Farneback",
    )
    rows = []
    half = whole["upper half by Farneback"]["motion"]
    rows.append(["as decoded", f"{whole['spearman']:.2f}", "", "", "", f"{half:.3f}"])
    for key in (key for key in whole if key.startswith("at ")):
        falls = [clip["spearman"] - clip[key]["spearman"] for clip in clips]
        cells = [
            key.removeprefix("at "),
            f"{whole[key]['spearman']:.2f}",
            f"{median(falls):.3f}",
            f"{sum(fall > 0.05 for fall in falls)} of {len(clips)} clips",
            f"{max(falls):.2f}",
            f"{whole[key]['upper half by Farneback']:.3f}",
        ]
        rows.append(cells)
    return lay(head, rows)


def memory_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each task: resident memory after the second and the last epoch."""
    head = ("task", "engine", "workers", "windows", "epochs", "MiB after 2", "MiB after the last", "growth", "commit")
    rows = []
    for line in lines:
        shown = [line["workload"], line["engine"], str(line["workers"]), str(line["windows"]), str(line["epochs"])]
        shown += [f"{line['after'][1]:.0f}", f"{line['after'][-1]:.0f}", f"**{line['growth']:+.1%}**"]
        rows.append([*shown, commit(line)])
    return lay(head, rows)


def graph_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each method: microseconds of each kernel in the loader's graph."""
    head = ("batch", "motion, us", "plan, us", "assemble, us", "commit")
    kernels = ("motion_kernel", "plan_kernel", "assemble_kernel")
    return lay(
        head,
        [
            [line["workload"], *(f"{line['microseconds'][name]:.0f}" for name in kernels), commit(line)]
            for line in lines
        ],
    )


def peers_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each clip; of each peer the faster of its threads and processes, and in brackets its wrong
    frames.
    """
    found = list(lines)
    names = list(dict.fromkeys(name for line in found for name in line["facts"]["peers"]))
    head = (
        "clip",
        "vidssl, samples/s",
        "processor ms a sample",
        "wrong frames",
        "against the bound",
        "against the fastest peer",
        *names,
        "commit",
    )
    rows = []
    for line in found:
        best = best_peers(line)
        counted = line["facts"]["wrong frames"]
        shown = [
            line["workload"],
            f"{1e3 / line['wall'][line['subject']]['median']:.1f}",
            f"{line['cpu'][line['subject']]['median']:.1f}",
        ]
        shown += [counted[line["subject"]], f"**{line['speedup'][BOUND]['median']:.2f}**"]
        shown.append(f"**{min(ratio for ratio, _ in best.values()):.2f}**" if best else "")
        shown += [
            f"{best[name][0]:.2f} ({best[name][1]}; {counted[name]})"
            if name in best
            else f"none ({counted.get(name, '')})"
            for name in names
        ]
        rows.append([*shown, commit(line)])
    ratios = [min(ratio for ratio, _ in best_peers(line).values()) for line in found if best_peers(line)]
    mean = f"Geometric mean against the fastest peer: **{geometric_mean(ratios):.2f}**." if ratios else ""
    return f"{lay(head, rows)}\n\n{mean}"


def best_peers(line: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Of each peer that did the whole job: how much faster vidssl is than the faster of its two ways, and which that
    is.
    """
    best: dict[str, tuple[float, str]] = {}
    failed = line["facts"].get("failed windows", {})
    for case, ratio in line["speedup"].items():
        name, _, way = case.rpartition(", ")
        if case != BOUND and name not in failed and (name not in best or ratio["median"] < best[name][0]):
            best[name] = ratio["median"], way
    return best
