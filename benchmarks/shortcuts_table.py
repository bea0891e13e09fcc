"""The table of bench_shortcuts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness import commit, lay

CUES = {
    "color": "colour histogram",
    "luma": "mean luma",
    "difference": "frame difference",
    "picture": "these three together",
    "gop": "place between key frames",
    "all": "all together",
}


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each variant of each task, a column for each set of cues; percent of the held-out tuples."""
    head = ("recipe, videos", "switch", "chance", *CUES.values(), "commit")
    rows = []
    for line in lines:
        for switch, found in line["variants"].items():
            cells = []
            for cue in CUES:
                score = found["scores"][cue]
                text = f"{100 * score['accuracy']:.0f} [{100 * score['low']:.0f}, {100 * score['high']:.0f}]"
                cells.append(f"**{text}**" if score["low"] > line["chance"] else text)
            about = [line["workload"], switch, f"{100 * line['chance']:.0f}"]
            rows.append([*about, *cells, commit(line)])
    return lay(head, rows)
