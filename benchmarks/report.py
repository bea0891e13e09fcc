"""Tables of the committed results.

python -m benchmarks.report          rewrites the tables of benchmarks/README.md and docs/, and the chart
python -m benchmarks.report --show   only prints them
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import Any

import tyro

from benchmarks import (
    complement_table,
    install_table,
    learning_table,
    ray_table,
    shortcuts_table,
    store_tables,
    time_tables,
    why_table,
)
from benchmarks.chart import draw
from benchmarks.harness import commit
from vidssl.types import VidsslError

HERE = Path(__file__).resolve().parent
OTHERS = (HERE.parent / "docs/shortcuts.md", HERE.parent / "docs/learning.md")  # pages with tables, beside the README
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
HEAD = ("workload", "body", "vidssl, ms", "against", "ms", "vidssl is faster by", "by processor time", "commit")
BOUND = "bare PyAV (bound)"


def read(folder: Path) -> list[dict[str, Any]]:
    """Every line of every results file; of one workload, of as many steps, on one machine only the newest."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            try:
                line = json.loads(text)
                machine = line["machine"]
                what = (line["bench"], line["workload"], str(line.get("steps")))
                key = (*what, machine["cpu"], str(machine["cores"]), machine["simd"])
                if key not in lines or lines[key]["date"] <= line["date"]:
                    lines.pop(key, None)  # so that it moves behind the older ones
                    lines[key] = line
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise VidsslError(
                    f"{path.name}, line {number}: not a result ({error!r}); remove it or measure anew"
                ) from error
    return list(lines.values())


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each case that vidssl is compared with."""
    rows = [" | ".join(HEAD), " | ".join("---" for _ in HEAD)]
    for line in lines:
        ours = line["wall"][line["subject"]]
        for name, ratio in line["speedup"].items():
            saved = line["cpu_saving"].get(name)
            rows.append(
                " | ".join(
                    [
                        line["workload"],
                        line["machine"]["simd"],
                        f"{ours['median']:.3g} a {line['item']}",
                        name,
                        f"{line['wall'][name]['median']:.3g}",
                        f"**{ratio['median']:.2f}** [{ratio['low']:.2f}, {ratio['high']:.2f}]",
                        f"{saved['median']:.2f}" if saved else "",
                        commit(line),
                    ]
                )
            )
    return "\n".join(f"| {row} |" for row in rows)


def motion_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each clip. "even" is what was drawn without weights; z stands for the weighted draws (z of
    the even ones).
    """
    rows = [" | ".join(MOTION_HEAD), " | ".join("---" for _ in MOTION_HEAD)]
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
            " | ".join(
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
        )
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    half = whole["upper half by Farneback"]["motion"]
    rows.append(f"as decoded | {whole['spearman']:.2f} | | | | {half:.3f}")
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
        rows.append(" | ".join(cells))
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for line in lines:
        runs = line["runs"]
        rows.append(
            " | ".join(
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
        )
    return "\n".join(f"| {row} |" for row in rows)


def memory_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each task: resident memory after the second and the last epoch."""
    head = ("task", "engine", "workers", "windows", "epochs", "MiB after 2", "MiB after the last", "growth", "commit")
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for line in lines:
        shown = [line["workload"], line["engine"], str(line["workers"]), str(line["windows"]), str(line["epochs"])]
        shown += [f"{line['after'][1]:.0f}", f"{line['after'][-1]:.0f}", f"**{line['growth']:+.1%}**"]
        rows.append(" | ".join([*shown, commit(line)]))
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
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
        rows.append(" | ".join([*shown, commit(line)]))
    ratios = [min(ratio for ratio, _ in best_peers(line).values()) for line in found if best_peers(line)]
    mean = f"Geometric mean against the fastest peer: **{geometric_mean(ratios):.2f}**." if ratios else ""
    return "\n".join(f"| {row} |" for row in rows) + f"\n\n{mean}"


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


def index_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each number of processes, or each long file."""
    found = list(lines)
    names = [name for name in found[-1] if name.endswith((", s", ", us", ", MiB", ", times"))]
    rows = [" | ".join(["index", *names, "commit"]), " | ".join("---" for _ in range(len(names) + 2))]
    for line in found:
        shown = [
            line["workload"],
            *(f"{line[name]:.3g}" if line[name] < 1000 else f"{line[name]:.0f}" for name in names),
        ]
        rows.append(" | ".join([*shown, commit(line)]))
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
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
        rows.append(" | ".join([*about, *cells, commit(line)]))
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
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
        rows.append(" | ".join([*cells, commit(line)]))
    return "\n".join(f"| {row} |" for row in rows)


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
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    for line in found:
        spent = line["processor seconds"]
        cells = [
            f"{line['seconds'][step]:.1f}, {spent[step]:.1f} ({line['MiB above the features'][step]})" for step in steps
        ]
        about = [line["workload"], f"{line['videos']:,}", str(line["MiB of features"])]
        total = f"**{sum(line['seconds'].values()):.1f}** | {sum(spent.values()):.1f}"
        rows.append(" | ".join([*about, *cells, total, commit(line)]))
    return "\n".join(f"| {row} |" for row in rows)


TABLES = {
    "motion": motion_table,
    "motion_sizes": motion_sizes_table,
    "methods": methods_table,
    "memory": memory_table,
    "peers": peers_table,
    "index": index_table,
    "long": index_table,
    "ray": ray_table.table,
    "representations": representations_table,
    "recipes": recipes_table,
    "features": features_table,
    "why": why_table.table,
    "shortcuts": shortcuts_table.table,
    "time": time_tables.table,
    "time_layer": time_tables.table,
    "complement": complement_table.table,
    "learning": learning_table.table,
    "install": install_table.table,
    **store_tables.TABLES,
}  # of every other benchmark: table
FROM = {"learning": ("recipes", "time")}  # benchmarks whose lines make the tables of a name that is none


def section(bench: str, lines: Iterable[dict[str, Any]]) -> str:
    """The tables of one benchmark, one for each machine, under its name and the versions that were measured."""
    machines: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["bench"] in FROM.get(bench, (bench,)):
            machines.setdefault(f"{line['machine']['cpu']}, {line['machine']['cores']} cores", []).append(line)
    parts = []
    for machine, found in machines.items():
        versions = found[-1]["versions"]
        named = ", ".join(
            f"{name} {versions[name]}" for name in ("python", "torch", "av", "nvidia-dali-cuda130") if name in versions
        )
        rounds, runs = {line["rounds"] for line in found if "rounds" in line}, found[-1].get("runs", ())
        times = f"{min(rounds)} to {max(rounds)}" if len(rounds) > 1 else f"{max(rounds, default=0)}"
        counted = f"; median [quartiles] of {times} rounds" if rounds else f"; {len(runs)} seeds" if runs else ""
        parts.append(f"{machine}; {named}; {found[-1]['date'][:10]}{counted}.\n\n{TABLES.get(bench, table)(found)}")
    return "\n\n".join(parts) or "No results yet."


def rewrite(text: str, lines: list[dict[str, Any]]) -> str:
    """`text` with what stands between `<!-- results: BENCH -->` and `<!-- end -->` made anew."""
    pattern = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{section(found[2], lines)}\n{found[3]}", text)


def main(
    *,
    results: Path = HERE / "results",
    readme: Path = HERE / "README.md",
    others: tuple[Path, ...] = OTHERS,
    show: bool = False,
) -> None:
    """Make the tables of the README, and of other pages, anew from the results.

    Args:
        results: Folder of .jsonl files.
        readme: File with the markers, beside which the chart lies.
        others: More files with markers.
        show: Print the tables instead.
    """
    lines = read(results)
    if show:
        for bench in dict.fromkeys(line["bench"] for line in lines):
            print(f"{section(bench, lines)}\n")
        return
    for page in (readme, *others):
        page.write_text(rewrite(page.read_text(), lines))
    peers = [line for line in lines if line["bench"] == "peers"]
    if peers:
        draw(peers, readme.with_name("peers.png"))


if __name__ == "__main__":
    tyro.cli(main)
