"""Queries of a retrieval and their nearest videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidssl.plots.palette import INK, RIGHT, SOFT, WRONG
from vidssl.plots.pen import SCALE, Pen

CELL = (72, 96)  # height and width of a frame in the picture, in points
FRAME = (SCALE * CELL[0], SCALE * CELL[1])  # height and width of a frame in pixels
_EDGE, _GAP, _LINE, _TOP = 24, 12, 4, 104


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A video in the picture.

    Attributes:
        frame: RGB uint8 [*FRAME, 3].
        name: Text below the frame.
        right: True if the video has the query's class; None for the query itself.
    """

    frame: npt.NDArray[np.uint8]
    name: str
    right: bool | None = None


def draw_nearest(rows: Sequence[tuple[Shown, Sequence[Shown]]], summary: str, path: Path) -> None:
    """Writes a PNG with one row per query.

    Args:
        rows: The queries, each with its nearest videos, the nearest first.
        summary: Text below the title.
        path: The PNG file.
    """
    count = max((len(found) for _, found in rows), default=0)
    high, wide = CELL[0] + 2 * _LINE + 22, CELL[1] + 2 * _LINE + _GAP
    pen = Pen(max(_EDGE + (1 + count) * wide + 2 * _GAP + _EDGE, 460), _TOP + len(rows) * high + _EDGE)
    pen.text(_EDGE, 32, "Nearest videos", INK, 20)
    pen.text(_EDGE, 58, f"{summary}; frame: green right, red wrong", SOFT, 12)
    pen.text(_EDGE, 86, "query", SOFT, 12)
    pen.text(_EDGE + wide + 2 * _GAP, 86, "nearest first", SOFT, 12)
    for line, (query, found) in enumerate(rows):
        top = _TOP + line * high
        _draw(pen, query, _EDGE, top)
        for column, one in enumerate(found):
            _draw(pen, one, _EDGE + (1 + column) * wide + 2 * _GAP, top)
    pen.save(path)


def _draw(pen: Pen, one: Shown, left: int, top: int) -> None:
    color = SOFT if one.right is None else RIGHT if one.right else WRONG
    pen.box(left, top, left + CELL[1] + 2 * _LINE, top + CELL[0] + 2 * _LINE, color)
    pen.picture(left + _LINE, top + _LINE, one.frame)
    pen.text(left, top + CELL[0] + 2 * _LINE + 9, one.name[:18], color, 11)
