"""Tables of the committed results.

python -m benchmarks.report          rewrites the tables in benchmarks/*.md and docs/, and the chart
python -m benchmarks.report --show   only prints them
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tyro

from benchmarks import (
    complement_table,
    install_table,
    learning_table,
    loading_tables,
    method_tables,
    millions_table,
    ray_table,
    shortcuts_table,
    store_tables,
    time_tables,
    why_table,
)
from benchmarks.chart import draw
from benchmarks.harness import commit, lay
from vidssl.types import VidsslError

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
PAGES = (*sorted(HERE.glob("*.md")), DOCS / "shortcuts.md", DOCS / "learning.md")
LEARNT = ("recipes", "time", "time_layer")  # benchmarks of what is learnt, which the number of cores does not change
HEAD = ("workload", "body", "vidssl, ms", "against", "ms", "vidssl is faster by", "by processor time", "commit")


def read(folder: Path) -> list[dict[str, Any]]:
    """Every line of every results file; of one workload, of as many steps, on one machine only the newest."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            try:
                line = json.loads(text)
                key = (line["bench"], line["workload"], str(line.get("steps")), machine(line), line["machine"]["simd"])
                if key not in lines or lines[key]["date"] <= line["date"]:
                    lines.pop(key, None)  # so that it moves behind the older ones
                    lines[key] = line
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise VidsslError(
                    f"{path.name}, line {number}: not a result ({error!r}); remove it or measure anew"
                ) from error
    return list(lines.values())


def machine(line: dict[str, Any]) -> str:
    """What a line was measured on, as far as it changes the figures."""
    cpu, cores = line["machine"]["cpu"], line["machine"]["cores"]
    return str(cpu) if line["bench"] in LEARNT else f"{cpu}, {cores} cores"


def by_machine(lines: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The lines of each machine: what was measured on two machines is no comparison."""
    machines: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        machines.setdefault(machine(line), []).append(line)
    return machines


def of_one_machine(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the machine that has most of them."""
    return max(by_machine(lines).values(), key=len)


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each case that vidssl is compared with."""
    rows = []
    for line in lines:
        ours = line["wall"][line["subject"]]
        for name, ratio in line["speedup"].items():
            saved = line["cpu_saving"].get(name)
            rows.append(
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
    return lay(HEAD, rows)


def index_table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each number of processes, or each long file."""
    found = list(lines)
    names = [name for name in found[-1] if name.endswith((", s", ", us", ", MiB", ", times"))]
    rows = []
    for line in found:
        shown = [
            line["workload"],
            *(f"{line[name]:.3g}" if line[name] < 1000 else f"{line[name]:.0f}" for name in names),
        ]
        rows.append([*shown, commit(line)])
    return lay(["index", *names, "commit"], rows)


TABLES = {
    "motion": loading_tables.motion_table,
    "motion_sizes": loading_tables.motion_sizes_table,
    "methods": method_tables.methods_table,
    "memory": loading_tables.memory_table,
    "graph": loading_tables.graph_table,
    "peers": loading_tables.peers_table,
    "index": index_table,
    "long": index_table,
    "ray": ray_table.table,
    "millions": millions_table.table,
    "representations": method_tables.representations_table,
    "recipes": method_tables.recipes_table,
    "features": method_tables.features_table,
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
    parts = []
    for name, found in by_machine(line for line in lines if line["bench"] in FROM.get(bench, (bench,))).items():
        versions = found[-1]["versions"]
        named = ", ".join(
            f"{part} {versions[part]}" for part in ("python", "torch", "av", "nvidia-dali-cuda130") if part in versions
        )
        rounds = {line["rounds"] for line in found if "rounds" in line}
        seeds = {len(line.get("runs", ())) for line in found}
        times = f"{min(rounds)} to {max(rounds)}" if len(rounds) > 1 else f"{max(rounds, default=0)}"
        alike = f"; {max(seeds)} seeds" if len(seeds) == 1 and max(seeds) else ""  # else the rows say how many
        counted = f"; median [quartiles] of {times} rounds" if rounds else alike
        parts.append(f"{name}; {named}; {found[-1]['date'][:10]}{counted}.\n\n{TABLES.get(bench, table)(found)}")
    return "\n\n".join(parts) or "No results yet."


def rewrite(text: str, lines: list[dict[str, Any]]) -> str:
    """`text` with what stands between `<!-- results: BENCH -->` and `<!-- end -->` made anew."""
    pattern = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{section(found[2], lines)}\n{found[3]}", text)


def main(
    *,
    results: Path = HERE / "results",
    pages: tuple[Path, ...] = PAGES,
    chart: Path = HERE / "peers.png",
    show: bool = False,
) -> None:
    """Make the tables of pages, and the chart, anew from the results.

    Args:
        results: Folder of .jsonl files.
        pages: Files with markers.
        chart: Where the chart goes.
        show: Print the tables instead.
    """
    lines = read(results)
    if show:
        for bench in dict.fromkeys(line["bench"] for line in lines):
            print(f"{section(bench, lines)}\n")
        return
    for page in pages:
        page.write_text(rewrite(page.read_text(), lines))
    peers = [line for line in lines if line["bench"] == "peers"]
    if peers:
        draw(peers, chart)


if __name__ == "__main__":
    tyro.cli(main)
