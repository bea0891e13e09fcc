"""Charts as inline SVG: curves over steps, a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from vidssl.report.read import Curve

COLORS = ("#3b6ea8", "#b3261e", "#1a7f37", "#9a6700", "#8250df", "#0e7490", "#bc4c00", "#57606a")
_WIDTH, _HEIGHT = 404, 228
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 30
_POINTS = 400  # of a curve: more cannot be seen


def curves(title: str, lines: Mapping[str, Curve]) -> str:
    """A chart of one metric, a line a run."""
    shown = {name: _thinned([(x, y) for x, y in line if math.isfinite(y)]) for name, line in lines.items()}
    points = [point for line in shown.values() for point in line]
    if not points:
        return ""
    right, (low, high) = max(x for x, _ in points) or 1.0, _span([y for _, y in points])

    def at(x: float, y: float) -> str:
        across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return f"{_LEFT + across * x / right:.1f},{_TOP + up * (1 - (y - low) / (high - low)):.1f}"

    parts = [_text(_LEFT, 18, title, "title")]
    for value in _ticks(low, high):
        x, y = at(0, value).split(",")
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(_text(_LEFT - 6, float(y) + 4, _short(value), "tick", "end"))
    for step in _ticks(0, right):
        parts.append(_text(float(at(step, low).split(",")[0]), _HEIGHT - 10, _short(step), "tick", "middle"))
    for (name, line), color in zip(shown.items(), _cycle(len(shown)), strict=True):
        path = " ".join(at(x, y) for x, y in line)
        dot = "" if len(line) > 1 else f'<circle cx="{path.split(",")[0]}" cy="{path.split(",")[1]}" r="3" fill="{color}"/>'
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"><title>{escape(name)}</title></polyline>{dot}'
        )
    return _svg(_WIDTH, _HEIGHT, parts)


def confusion(title: str, classes: Sequence[str], table: Sequence[Sequence[int]]) -> str:
    """A square a pair of classes: rows are what videos show, columns what was answered; the darker, the larger share of the row."""
    cell = max(5.0, min(30.0, 620 / max(len(classes), 1)))
    named = cell >= 10
    left, top = (150.0, 104.0) if named else (20.0, 40.0)
    side = cell * len(classes)
    parts = [_text(0, 16, title, "title")]
    for row, (name, counts) in enumerate(zip(classes, table, strict=True)):
        y, total = top + row * cell, max(sum(counts), 1)
        if named:
            parts.append(_text(left - 6, y + cell / 2 + 4, name[:22], "tick", "end"))
            x = left + row * cell + cell / 2 + 4
            parts.append(f'<g transform="rotate(-60 {x:.1f} {top - 6:.1f})">{_text(x, top - 6, name[:18], "tick")}</g>')
        for column, count in enumerate(counts):
            x = left + column * cell
            color = COLORS[2] if row == column else COLORS[1]
            said = f"{escape(name)} taken for {escape(classes[column])}: {count} of {total}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" fill="{color}" '
                f'fill-opacity="{0.04 + 0.9 * count / total:.2f}"><title>{said}</title></rect>'
            )
            if count and cell >= 18:
                parts.append(_text(x + cell / 2, y + cell / 2 + 4, str(count), "count", "middle"))
    return _svg(left + side + 10, top + side + 10, parts)


def legend(names: Sequence[str]) -> str:
    """Which colour is which run."""
    colored = zip(names, _cycle(len(names)), strict=True)
    items = (f'<span><i style="background:{color}"></i>{escape(name)}</span>' for name, color in colored)
    return f'<p class="legend">{"".join(items)}</p>'


def _cycle(count: int) -> list[str]:
    return [COLORS[at % len(COLORS)] for at in range(count)]


def _thinned(line: Curve) -> Curve:
    """At most _POINTS points, each the mean of its neighbours."""
    each = -(-len(line) // _POINTS) if line else 1
    groups = [line[at : at + each] for at in range(0, len(line), each)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high == 0:
        return 0.0, 1.0
    if low == high:
        return low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    return (0.0 if 0 < low < 0.5 * high else low), high


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers within."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return "0" if abs(value) < 1e-12 else f"{value:.3g}"


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{"".join(parts)}</svg>'
