"""Confusion matrices: a row is a true class, a column a predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from vidssl.plots import svg
from vidssl.plots.palette import INK, PAPER, RIGHT, WRONG, shade
from vidssl.plots.pen import Pen, shorten, text_width

_EDGE, _LEFT, _TOP = 12, 90, 64
_MOST, _LEAST = 54, 26  # size of a cell in points, for up to 12 classes and for more
_TICK, _TITLE = 11, 13  # sizes of the page's fonts, in pixels
_WIDER = 1.3  # a browser's font, and bold, against the one that measures here
_NAME_SVG = 110  # widest name of a class in the SVG, in pixels
_NAME = _LEFT - 8 - 4  # widest name of a class, in points


def confusion_image(table: npt.NDArray[np.int64], names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Draws a confusion matrix; each cell shows its percentage of the row.

    The column names run upwards if one of them is wider than its column.

    Args:
        table: int64 [C, C], counts.
        names: Names of the C classes; long ones are cut.

    Returns:
        RGB uint8 [H, W, 3].
    """
    fraction = table / np.maximum(table.sum(1, keepdims=True), 1)
    cell = _MOST if len(names) <= 12 else _LEAST
    side, size = len(names) * cell + _EDGE, 12 if cell == _MOST else 9
    short = [shorten(name, size, _NAME) for name in names]
    widest = max(text_width(name, size) for name in short)
    upward = widest > cell
    top = _TOP + round(widest) - _EDGE if upward else _TOP
    title = "true class (rows), predicted (columns), % of the row"
    pen = Pen(max(_LEFT + side, round(text_width(title, 14)) + 2 * _EDGE), top + side, scale=1)
    pen.text(_EDGE, _EDGE + 8, title, INK, 14)
    for row, name in enumerate(short):
        pen.text(_LEFT - 8, top + (row + 0.5) * cell, name, INK, size, "rm")
        if upward:
            pen.upward_text(_LEFT + (row + 0.5) * cell, top - 8, name, INK, size)
        else:
            pen.text(_LEFT + (row + 0.5) * cell, top - 8, name, INK, size, "mb")
        for column in range(len(names)):
            value = float(fraction[row, column])
            x, y = _LEFT + column * cell, top + row * cell
            pen.box(x, y, x + cell - 2, y + cell - 2, shade(value))
            color = PAPER if value > 0.5 else INK
            pen.text(x + cell / 2 - 1, y + cell / 2 - 1, f"{100 * value:.0f}", color, size, "mm")
    return np.asarray(pen.canvas)


def svg_confusion(title: str, names: Sequence[str], table: Sequence[Sequence[int]]) -> str:
    """Draws a confusion matrix as SVG.

    A darker cell is a larger fraction of its row. Correct predictions are green, wrong ones red.

    Args:
        title: Title of the chart.
        names: Names of the C classes; long ones are cut.
        table: C rows of C counts.

    Returns:
        The SVG element.
    """
    cell = max(5.0, min(30.0, 620 / max(len(names), 1)))
    named = cell >= 10
    short = [shorten(name, _TICK, _NAME_SVG) for name in names] if named else []
    slanted = max((_WIDER * text_width(name, _TICK) for name in short), default=0.0)
    left, top = (150.0, 40.0 + 0.87 * slanted) if named else (20.0, 40.0)  # sine of 60 degrees
    side = cell * len(names)
    parts = [svg.text(0, 16, title, "title")]
    for row, (name, counts) in enumerate(zip(names, table, strict=True)):
        y, total = top + row * cell, max(sum(counts), 1)
        if named:
            parts.append(svg.text(left - 6, y + cell / 2 + 4, short[row], "tick", "end"))
            x = left + row * cell + cell / 2 + 4
            turned = svg.text(x, top - 6, short[row], "tick")
            parts.append(f'<g transform="rotate(-60 {x:.1f} {top - 6:.1f})">{turned}</g>')
        for column, count in enumerate(counts):
            x = left + column * cell
            color = RIGHT if row == column else WRONG
            hint = f"{escape(name)} taken for {escape(names[column])}: {count} of {total}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" fill="{color}" '
                f'fill-opacity="{0.04 + 0.9 * count / total:.2f}"><title>{hint}</title></rect>'
            )
            if count and cell >= 18:
                parts.append(svg.text(x + cell / 2, y + cell / 2 + 4, str(count), "count", "middle"))
    right = left + side + 10 + 0.5 * slanted  # cosine
    return svg.document(max(right, _WIDER * text_width(title, _TITLE)), top + side + 10, parts)
