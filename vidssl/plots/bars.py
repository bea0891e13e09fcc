"""Accuracies as bars with their intervals, and a line for chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from vidssl.plots.palette import BLUE, GRID, INK, PALE_BLUE, RIGHT, SOFT, WRONG
from vidssl.plots.pen import Pen

_FILL = {"picture": BLUE, "file": PALE_BLUE, "trained": RIGHT}
_LEGEND = {"picture": "cues in the picture", "file": "with cues that only the file has", "trained": "the trained model"}
_EDGE, _LEFT, _PLOT, _SIDE, _ROW, _THICK = 28, 210, 520, 330, 46, 24


class Bar(NamedTuple):
    """One bar of the chart.

    Attributes:
        name: Text at the left.
        value: Length, in 0..1.
        low: Lower end of the interval, in 0..1.
        high: Upper end of the interval, in 0..1.
        verdict: Text at the right.
        kind: "picture", "file" or "trained", which decides the colour.
    """

    name: str
    value: float
    low: float
    high: float
    verdict: str
    kind: str


def draw_bars(bars: Sequence[Bar], chance: float, title: str, notes: Sequence[str], path: Path) -> None:
    """Writes a PNG of accuracies in percent, from 0 to 100, with intervals and a line for chance.

    Args:
        bars: The bars, from top to bottom.
        chance: Accuracy of always predicting the most common label, in 0..1.
        title: Title of the picture.
        notes: Sentences below the chart.
        path: The PNG file.
    """
    lines = [line for note in notes for line in wrap(note, 180)]
    top, width = 142, _EDGE + _LEFT + _PLOT + _SIDE + _EDGE
    bottom = top + len(bars) * _ROW
    pen = Pen(width, bottom + 48 + 19 * len(lines) + _EDGE)
    pen.text(_EDGE, 34, title, INK, 22)
    pen.text(
        _EDGE, 64, "Accuracy of a linear model on held-out tuples, in percent; a whisker is a 95 % interval.", SOFT, 14
    )
    _legend(pen, {bar.kind for bar in bars}, 92)
    for percent in range(0, 101, 20):
        x = _x(percent / 100)
        pen.line(x, top, x, bottom, GRID)
        pen.text(x, bottom + 14, str(percent), SOFT, 13, "mm")
    for at, bar in enumerate(bars):
        _bar(pen, bar, top + at * _ROW + _ROW / 2)
    for y in range(top - 4, bottom, 9):  # dashes
        pen.line(_x(chance), y, _x(chance), min(y + 5, bottom), WRONG, 1.5)
    pen.text(_x(chance), top - 14, f"chance {100 * chance:.1f}", WRONG, 13, "mm")
    for at, line in enumerate(lines):
        pen.text(_EDGE, bottom + 48 + 19 * at, line, SOFT, 12)
    pen.save(path)


def _x(fraction: float) -> float:
    return _EDGE + _LEFT + fraction * _PLOT


def _bar(pen: Pen, bar: Bar, middle: float) -> None:
    pen.text(_EDGE + _LEFT - 14, middle, bar.name, INK, 15, "rm")
    pen.box(_x(0), middle - _THICK / 2, _x(bar.value), middle + _THICK / 2, _FILL[bar.kind])
    pen.line(_x(bar.low), middle, _x(bar.high), middle, INK, 1.5)
    for end in (bar.low, bar.high):
        pen.line(_x(end), middle - 5, _x(end), middle + 5, INK, 1.5)
    first, *rest = wrap(bar.verdict, 38)
    pen.text(_x(1) + 20, middle - (8 if rest else 0), f"{100 * bar.value:.1f}", INK, 15)
    for at, line in enumerate([first, *rest]):
        pen.text(_x(1) + 68, middle + (16 * at - 8 * len(rest)), line, SOFT, 13)


def _legend(pen: Pen, kinds: set[str], y: float) -> None:
    x: float = _EDGE
    for kind, words in _LEGEND.items():
        if kind in kinds:
            pen.box(x, y - 6, x + 12, y + 6, _FILL[kind])
            pen.text(x + 20, y, words, SOFT, 13)
            x += 46 + 7 * len(words)
