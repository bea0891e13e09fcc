"""Tables of what bench_store measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import geometric_mean
from typing import Any

from benchmarks.harness import commit, lay

Line = dict[str, Any]


def rate(line: Line, case: str) -> str:
    return f"{1e3 / line['wall'][case]['median']:.0f}"


def ratio(found: dict[str, float]) -> str:
    return f"**{found['median']:.2f}** [{found['low']:.2f}, {found['high']:.2f}]"


def spent(line: Line, case: str) -> str:
    return f"{line['cpu'][case]['median']:.2f}"


def saved(line: Line, case: str) -> str:
    found = line["cpu_saving"].get(case)
    return f"{found['median']:.2f}" if found else ""


def least_saved(line: Line, cases: Iterable[str]) -> str:
    """Processor time of the cheapest of these cases, over that of the subject."""
    found = [line["cpu_saving"][case]["median"] for case in cases if case in line["cpu_saving"]]
    return f"{min(found):.2f}" if found else ""


def kept(facts: Line) -> list[str]:
    """Bytes a frame, and MB a video, in the store and as a file."""
    return [f"{facts['bytes a frame']:,}", f"{facts['MB a video']} ({facts['MB a video as a file']})"]


KEPT = ("bytes a frame", "MB a video (file)")


def peers_table(lines: Iterable[Line]) -> str:
    """A row for each clip; the peer is the one that was fastest in the rounds."""
    rows, ratios = [], []
    for line in lines:
        ours = line["subject"]
        decoding, *others = line["speedup"]
        best = min(others, key=lambda name: line["speedup"][name]["median"], default=None)
        row = [line["workload"], rate(line, ours), spent(line, ours), ratio(line["speedup"][decoding])]
        if best is None:
            row += ["none", "", "", ""]
        else:
            ratios.append(line["speedup"][best]["median"])
            row += [best, rate(line, best), ratio(line["speedup"][best]), least_saved(line, others)]
        rows.append([*row, *kept(line["facts"]), commit(line)])
    head = ["clip", "from the store, samples/s", "processor ms a sample", "faster than vidssl that decodes by"]
    head += ["fastest peer", "its samples/s", "faster than it by", "by processor time, of the cheapest peer"]
    head += [*KEPT, "commit"]
    if not ratios:
        return lay(head, rows)
    mean, least = geometric_mean(ratios), min(ratios)
    return f"{lay(head, rows)}\n\nAgainst the fastest peer: **{mean:.1f}** in the geometric mean, {least:.1f} at least."


def formats_table(lines: Iterable[Line]) -> str:
    """A row for each frame store, in the faster of its two ways."""
    rows = []
    for line in lines:
        facts, best, ways = line["facts"], dict[str, str](), dict[str, list[str]]()
        for case in line["wall"]:
            name, _, way = case.rpartition(", ")
            name = case if case.startswith("vidssl") or way == "memory used again" else name
            ways.setdefault(name, []).append(case)
            if name not in best or line["wall"][case]["median"] < line["wall"][best[name]]["median"]:
                best[name] = case
        for name, case in best.items():
            held = name.partition(", threads")[0]
            against = line["speedup"].get(case)
            about = [f"{line['workload']}: {case}", rate(line, case), spent(line, case)]
            about += [ratio(against) if against else "", least_saved(line, ways[name])]
            rows.append(
                [*about, f"{facts['error'][held]:.2f}", f"{facts['bytes a frame of each'][held]:,}", commit(line)]
            )
    head = (
        "frame store",
        "samples/s",
        "processor ms a sample",
        "vidssl at 128 x 171 is faster by",
        "by processor time, of the cheaper way",
    )
    return lay((*head, "error, grey levels", "bytes a frame", "commit"), rows)


def epochs_table(lines: Iterable[Line]) -> str:
    """A row for each method and number of cores. The first epoch is compared with decoding."""
    rows = []
    for line in lines:
        ours = line["subject"]
        decoding = next((case for case in line["wall"] if case.startswith("decoding")), None)
        row = [line["workload"], rate(line, ours), spent(line, ours)]
        row.append("; ".join(f"{case.split()[-1]} {spent(line, case)}" for case in line["wall"] if "backend" in case))
        row += [rate(line, decoding), ratio(line["speedup"][decoding]), saved(line, decoding)] if decoding else [""] * 3
        first = next((case for case in line["wall"] if case.startswith("first")), None)
        clocks = (line["wall"], line["cpu"]) if first and decoding else ()
        row.append(" / ".join(f"{clock[first]['median'] / clock[decoding]['median']:.2f}" for clock in clocks))
        rows.append([*row, *kept(line["facts"]), commit(line)])
    head = ["method, cores", "from the store, samples/s", "processor ms a sample", "other backends, processor ms"]
    head += ["decoding, samples/s", "faster by", "by processor time"]
    return lay([*head, "first epoch takes, of decoding / processor time", *KEPT, "commit"], rows)


def disk_table(lines: Iterable[Line]) -> str:
    rows = []
    for line in lines:
        facts = line["facts"]
        for case in line["wall"]:
            slower = line["speedup"].get(case)
            row = [f"{line['workload']}: {case}", rate(line, case), spent(line, case), ratio(slower) if slower else ""]
            rows.append([*row, str(facts["store, MB"]), str(facts["disk, read in order, MB/s"]), commit(line)])
    head = ("shards", "samples/s", "processor ms a sample", "takes, of the first row", "store, MB")
    return lay((*head, "disk, read in order, MB/s", "commit"), rows)


def index_table(lines: Iterable[Line]) -> str:
    rows = []
    for line in lines:
        row = [line["workload"], f"{line['wall'][line['subject']]['median']:.0f}"]
        for case, found in line["speedup"].items():
            facts = line["facts"][case]
            row += [ratio(found), saved(line, case), f"{facts['bytes a frame']:,}; {facts['MB a video']}"]
        rows.append([*row, commit(line)])
    head = ["clip", "index alone, ms a video"]
    for case in rows and line["speedup"]:
        head += [f"{case} takes", "by processor time", "bytes a frame; MB a video"]
    return lay([*head, "commit"], rows)


def memory_table(lines: Iterable[Line]) -> str:
    """A row for each process, in MiB."""
    rows = []
    for line in lines:
        for name, found in line["processes"].items():
            before, after = found["settled"], found["last"]
            row = [name, f"{before['private']:.0f}", f"{after['private']:.0f}"]
            row.append(f"**{after['private'] / before['private'] - 1:+.1%}**")
            row += [f"{after[key]:.0f}" for key in ("PSS", "shards, RSS", "shards, PSS", "shards, written to")]
            rows.append([*row, str(line["facts"]["store, MB"]), commit(line)])
    head = ("process", "private after 5 epochs", "after the last", "growth", "PSS", "shards: RSS", "shards: PSS")
    return lay((*head, "shards: private, written", "store, MB", "commit"), rows)


def fidelity_table(lines: Iterable[Line]) -> str:
    """Markdown: a row for each size and crop, a column for each family. Mean / 99.9th percentile in grey levels."""
    found = list(lines)
    families = list(found[0]["grey levels"])
    head = ("workload", *families, "all, in grey", "commit")
    rows = []
    for line in found:
        levels = line["grey levels"]
        cells = [f"{levels[name]['rgb mean']:.2f} / {levels[name]['rgb 99.9 %']:.1f}" for name in families]
        grey = f"{levels['all']['grey mean']:.2f} / {levels['all']['grey 99.9 %']:.1f}"
        rows.append([line["workload"], *cells, grey, commit(line)])
    return lay(head, rows)


TABLES = {
    "store_peers": peers_table,
    "store_formats": formats_table,
    "store_epochs": epochs_table,
    "store_disk": disk_table,
    "store_index": index_table,
    "store_memory": memory_table,
    "store_fidelity": fidelity_table,
}
