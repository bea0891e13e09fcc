"""Metrics over steps, one line per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from vidssl.plots import axis, svg
from vidssl.plots.palette import GRID, INK, SOFT, series
from vidssl.plots.pen import Pen

Curve = list[tuple[float, float]]  # (step, value)

_WIDTH, _HEIGHT = 404, 246  # size of an SVG chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 52, 30
_POINTS = 400  # points of a curve; more cannot be distinguished
_PANEL, _GAP, _EDGE, _MARGIN, _HEAD = (430, 240), 60, 28, 60, 70  # sizes in a PNG


def svg_curves(
    title: str, lines: Mapping[str, Curve], *, about: str = "", levels: Mapping[str, float] | None = None
) -> str:
    """Draws one metric as SVG, one line per run.

    Args:
        title: Title of the chart.
        lines: Curve of each run, by the run's name. Values that are not finite are left out.
        about: What the metric means, below the title.
        levels: A dashed level of some of the runs, such as chance.

    Returns:
        The SVG element, or "" if no run has a finite value.
    """
    shown = {name: _thinned([(x, y) for x, y in line if math.isfinite(y)]) for name, line in lines.items()}
    points = [point for line in shown.values() for point in line]
    if not points:
        return ""
    dashed = {name: level for name, level in (levels or {}).items() if shown.get(name)}
    right = max(x for x, _ in points) or 1.0
    low, high = axis.limits([*(y for _, y in points), *dashed.values()])

    def at(x: float, y: float) -> str:
        across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return f"{_LEFT + across * x / right:.1f},{_TOP + up * (1 - (y - low) / (high - low)):.1f}"

    parts = [svg.text(_LEFT, 18, title, "title"), svg.text(_LEFT, 35, about, "tick")]
    for value, text in _labelled(low, high):
        x, y = at(0, value).split(",")
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(svg.text(_LEFT - 6, float(y) + 4, text, "tick", "end"))
    for step, text in _labelled(0, right):
        parts.append(svg.text(float(at(step, low).split(",")[0]), _HEIGHT - 10, text, "tick", "middle"))
    for (name, line), color in zip(shown.items(), series(len(shown)), strict=True):
        path = " ".join(at(x, y) for x, y in line)
        x, y = path.split(" ")[0].split(",") if path else ("0", "0")
        dot = f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>' if len(line) == 1 else ""
        if name in dashed:
            x, y = at(0, dashed[name]).split(",")
            parts.append(
                f'<line x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="{color}" stroke-dasharray="4 4"/>'
            )
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6">'
            f"<title>{escape(name)}</title></polyline>{dot}"
        )
    return svg.document(_WIDTH, _HEIGHT, parts)


def html_legend(names: Sequence[str]) -> str:
    """The legend: the colour of each run, as HTML."""
    colored = zip(names, series(len(names)), strict=True)
    items = (f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in colored)
    return f'<p class="legend">{"".join(items)}</p>'


def draw_curves(title: str, names: Sequence[str], panels: Mapping[str, Sequence[Curve]]) -> Pen:
    """Draws one panel per metric, two in a row, and a legend of the runs.

    Args:
        title: Title of the picture.
        names: Names of the runs.
        panels: Curve of each run, by metric. The axis of a metric whose name ends in "accuracy" is 0 to 1.

    Returns:
        The picture; `.save(path)` writes it.
    """
    rows = -(-len(panels) // 2)
    width = 2 * (_PANEL[0] + _MARGIN) + _GAP + 2 * _EDGE
    pen = Pen(width, _HEAD + rows * (_PANEL[1] + _GAP) + 22 * len(names) + _EDGE)
    pen.text(_EDGE, 34, title, INK, 22)
    for at, (metric, curves) in enumerate(panels.items()):
        left = _EDGE + _MARGIN + at % 2 * (_PANEL[0] + _MARGIN + _GAP)
        _panel(pen, metric, curves, left, _HEAD + at // 2 * (_PANEL[1] + _GAP))
    for at, (name, color) in enumerate(zip(names, series(len(names)), strict=True)):
        y = _HEAD + rows * (_PANEL[1] + _GAP) + 22 * at
        pen.box(_EDGE, y - 6, _EDGE + 22, y + 6, color)
        pen.text(_EDGE + 32, y, name, INK, 14)
    return pen


def _panel(pen: Pen, metric: str, curves: Sequence[Curve], left: float, top: float) -> None:
    wide, high = _PANEL
    pen.text(left, top - 14, metric, INK, 15)
    points = [point for curve in curves for point in curve]
    if not points:
        pen.text(left + wide / 2, top + high / 2, "none", SOFT, 14, "mm")
        return
    last = max(step for step, _ in points) or 1
    bottom, ceiling = (0.0, 1.0) if metric.endswith("accuracy") else axis.limits([value for _, value in points])

    def at(step: float, value: float) -> tuple[float, float]:
        return left + wide * step / last, top + high * (1 - (value - bottom) / (ceiling - bottom))

    for value, text in _labelled(bottom, ceiling):
        y = at(0, value)[1]
        pen.line(left, y, left + wide, y, GRID)
        pen.text(left - 8, y, text, SOFT, 12, "rm")
    for step, text in _labelled(0, last):
        pen.text(at(step, bottom)[0], top + high + 14, text, SOFT, 12, "mm")
    for curve, color in zip(curves, series(len(curves)), strict=True):
        places = [at(*point) for point in curve]
        for (x0, y0), (x1, y1) in pairwise(places):
            pen.line(x0, y0, x1, y1, color, 1.5)
        if len(places) == 1:
            (x, y), *_ = places
            pen.box(x - 2, y - 2, x + 2, y + 2, color)


def _labelled(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks from low to high, and their texts."""
    values = axis.ticks(low, high)
    return list(zip(values, axis.labels(values), strict=True))


def _thinned(line: Curve) -> Curve:
    """At most _POINTS points, each the mean of consecutive points."""
    each = -(-len(line) // _POINTS) if line else 1
    groups = [line[at : at + each] for at in range(0, len(line), each)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
