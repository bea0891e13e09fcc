"""One picture of a tuple: the clips in the order shown, the true order beside the predicted one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vidssl.paths import written

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_PAPER, _INK, _SOFT, _RIGHT, _WRONG = "#ffffff", "#1d1d1f", "#6e6e73", "#1a7f37", "#b3261e"
CELL = (96, 128)  # height, width of a frame in the picture
_EDGE, _GAP, _LEFT, _SIDE = 28, 4, 112, 316


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A tuple and what became of it.

    clips: uint8 [K, 3, T, *CELL], as shown. frame: int64 [K, T]. true, predicted: for each slot, which in time it is, from 0.
    probability: of the predicted order, in 0..1, as the model sees it.
    """

    name: str
    clips: npt.NDArray[np.uint8]
    frame: npt.NDArray[np.int64]
    true: tuple[int, ...]
    predicted: tuple[int, ...]
    probability: float


def draw(tuples: list[Shown], path: Path, *, columns: int = 5) -> None:
    """Write a PNG with one block a tuple; `columns` evenly spaced frames of each clip."""
    title, text, small = _font(22), _font(17), _font(14)
    slots = tuples[0].clips.shape[0]
    block = 46 + slots * (CELL[0] + _GAP) + 22
    width = _EDGE + _LEFT + columns * (CELL[1] + _GAP) + _SIDE
    canvas = Image.new("RGB", (width, 104 + len(tuples) * block + _EDGE), _PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((_EDGE, 24), "In which order were these clips?", _INK, title)
    pen.text(
        (_EDGE, 58),
        "Held-out videos: the surest right answers, and a wrong one. A row is a clip in its slot; time runs to the right.",
        _SOFT,
        small,
    )
    for at, shown in enumerate(tuples):
        _draw_tuple(canvas, pen, shown, 92 + at * block, columns, text, small)
    with written(path) as aside:
        canvas.save(aside, "PNG")


def _draw_tuple(canvas: Image.Image, pen: ImageDraw.ImageDraw, shown: Shown, top: int, columns: int, text: Font, small: Font) -> None:
    good = shown.true == shown.predicted
    right = _EDGE + _LEFT + columns * (CELL[1] + _GAP) + 18
    pen.text((_EDGE, top + 12), shown.name, _INK, text)
    for label, x in (("true", right), ("predicted", right + 84)):
        pen.text((x, top + 14), label, _SOFT, small)
    times = np.linspace(0, shown.clips.shape[2] - 1, columns).round().astype(int)
    for slot, clip in enumerate(shown.clips):
        y = top + 46 + slot * (CELL[0] + _GAP)
        pen.text((_EDGE, y + 30), f"slot {slot + 1}", _INK, small)
        pen.text((_EDGE, y + 52), f"frames {shown.frame[slot, 0]}-{shown.frame[slot, -1]}", _SOFT, small)
        for column, time in enumerate(times):
            picture = Image.fromarray(np.ascontiguousarray(clip[:, time].transpose(1, 2, 0)))
            canvas.paste(picture, (_EDGE + _LEFT + column * (CELL[1] + _GAP), y))
        pen.text((right, y + 40), _ordinal(shown.true[slot]), _INK, text)
        color = _RIGHT if shown.true[slot] == shown.predicted[slot] else _WRONG
        pen.text((right + 84, y + 40), _ordinal(shown.predicted[slot]), color, text)
    verdict = f"{'right' if good else 'wrong'}, sure to {shown.probability:.0%}"
    pen.text((right + 84 + 80, top + 14), verdict, _RIGHT if good else _WRONG, small)


def _ordinal(place: int) -> str:
    return ("1st", "2nd", "3rd", "4th", "5th")[place]


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
