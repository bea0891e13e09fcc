"""The loader beside its peers as a picture: a group of bars a clip, in samples/s of the bound's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidssl.plots.palette import INK, RIGHT, SOFT
from vidssl.plots.pen import Pen

COLORS = ("#b0b7c3", "#8fa6c4", "#c9b28f", "#a9c0a6", "#c4a3b0")
LEFT, PLOT, BAR, GAP, TOP = 310, 520, 13, 18, 110


def speeds(line: dict[str, Any]) -> dict[str, float]:
    """Samples/s over the bound's, of vidssl and of the faster of each peer's two ways."""
    bound = next(ratio["median"] for case, ratio in line["speedup"].items() if case.endswith("(bound)"))
    found = {"vidssl": bound}
    for case, ratio in line["speedup"].items():
        name = case.rpartition(", ")[0]
        if name:
            found[name] = max(found.get(name, 0.0), bound / ratio["median"])
    return found


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG."""
    names = list(dict.fromkeys(name for line in lines for name in speeds(line)))
    color = dict(zip(names, (RIGHT, *COLORS), strict=False))
    group = len(names) * BAR + GAP
    top = max(1.25, *(max(speeds(line).values()) for line in lines))
    pen = Pen(LEFT + PLOT + 90, TOP + len(lines) * group + 40)
    pen.text(24, 30, "Samples per second, bare decoding with PyAV = 1", INK, 20)
    pen.text(
        24,
        56,
        f"{lines[-1]['machine']['cpu']}, {lines[-1]['machine']['cores']} cores; {lines[-1]['date'][:10]}",
        SOFT,
        13,
    )
    x = 24.0
    for name in names:
        pen.box(x, 76, x + 12, 88, color[name])
        pen.text(x + 18, 82, name, SOFT, 13)
        x += 44 + 7.5 * len(name)
    for at, line in enumerate(lines):
        y = TOP + at * group
        pen.text(LEFT - 12, y + group / 2 - GAP / 2, line["workload"], INK, 13, "rm")
        for place, name in enumerate(names):
            value = speeds(line).get(name)
            if value is not None:
                end, above = LEFT + PLOT * value / top, y + place * BAR
                pen.box(LEFT, above, end, above + BAR - 2, color[name])
                pen.text(end + 6, above + BAR / 2 - 1, f"{value:.2f}", INK if name == "vidssl" else SOFT, 10)
    one = LEFT + PLOT / top
    pen.line(one, TOP - 8, one, TOP + len(lines) * group - GAP, INK)
    pen.save(path)
