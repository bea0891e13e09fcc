"""Tuples as the encoder saw them: the slots, with the true class beside the predicted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidssl.plots.palette import INK, RIGHT, SOFT, WRONG
from vidssl.plots.pen import Pen, shorten, text_width

_FRAMES = 4  # frames of a clip that a strip shows, evenly spaced
_EDGE, _GAP, _LEAST = 12, 8, 72  # pixels; the smaller side of a frame is enlarged to at least _LEAST
_SIZE = 14  # font size of a strip's texts
CELL = (96, 128)  # height, width of a frame in a picture of orders
_MARGIN, _LEFT = 28, 150  # _LEFT holds the slots with their true and predicted places


def tuple_strips(
    clips: npt.NDArray[np.uint8], true: Sequence[str], predicted: Sequence[str], names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Draws one row per tuple: its slots from left to right, up to four frames of each.

    Above each row are the true class, the predicted class and the name. Long ones are cut.

    Args:
        clips: [N, K, 3, T, H, W].
        true: N class names.
        predicted: N class names.
        names: Names of the N tuples.

    Returns:
        RGB [height, width, 3].
    """
    count, slots, _, times, height, width = clips.shape
    shown = np.linspace(0, times - 1, min(times, _FRAMES)).round().astype(int).tolist()
    scale = max(1, -(-_LEAST // min(height, width)))
    cell_h, cell_w = scale * height, scale * width
    block, strip = cell_h + 34, len(shown) * (cell_w + 2) + _GAP
    wide = max(2 * _EDGE + slots * strip, 420)
    pen = Pen(wide, 2 * _EDGE + count * block, scale=1)
    most = max(wide / 3, 160) - 2 * _GAP
    firsts = [shorten(f"true {name}", _SIZE, most) for name in true]
    seconds = [shorten(f"predicted {name}", _SIZE, most) for name in predicted]
    second = _EDGE + max(110, 2 * _GAP + max(text_width(one, _SIZE) for one in firsts))
    third = max(_EDGE + 270, second + 2 * _GAP + max(text_width(one, _SIZE) for one in seconds))
    for row in range(count):
        top = _EDGE + row * block
        pen.text(_EDGE, top + 8, firsts[row], INK, _SIZE)
        color = RIGHT if true[row] == predicted[row] else WRONG
        pen.text(second, top + 8, seconds[row], color, _SIZE)
        pen.text(third, top + 8, shorten(names[row], _SIZE, wide - _EDGE - third), SOFT, _SIZE)
        for slot in range(slots):
            for column, time in enumerate(shown):
                x = _EDGE + slot * strip + column * (cell_w + 2)
                pen.picture(x, top + 22, clips[row, slot, :, time].transpose(1, 2, 0), (cell_h, cell_w))
    return np.asarray(pen.canvas)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """A tuple of clips whose order was predicted.

    Attributes:
        name: Name of the tuple.
        clips: uint8 [K, 3, T, *CELL].
        frame: int64 [K, T], frame numbers.
        true: Place in time of each slot's clip, from 0.
        predicted: The places that the model predicts.
        probability: Probability of the predicted order, in 0..1, as the model gives it.
    """

    name: str
    clips: npt.NDArray[np.uint8]
    frame: npt.NDArray[np.int64]
    true: tuple[int, ...]
    predicted: tuple[int, ...]
    probability: float


def draw_orders(tuples: Sequence[Ordered], path: Path, *, columns: int = 5) -> None:
    """Writes a PNG with one block per tuple.

    Args:
        tuples: The tuples.
        path: The PNG file.
        columns: Number of evenly spaced frames of each clip.
    """
    slots = tuples[0].clips.shape[0]
    block = 46 + slots * (CELL[0] + 4) + 22
    pen = Pen(_MARGIN + _LEFT + columns * (CELL[1] + 4) + _MARGIN, 104 + len(tuples) * block + _MARGIN, scale=1)
    pen.text(_MARGIN, 36, "In which order were these clips?", INK, 22)
    subtitle = (
        "Held-out videos: the most probable correct predictions, and a wrong one. "
        "A row is the clip of a slot; time runs to the right."
    )
    pen.text(_MARGIN, 66, subtitle, SOFT, 14)
    for at, one in enumerate(tuples):
        _draw_order(pen, one, 92 + at * block, columns)
    pen.save(path)


def _draw_order(pen: Pen, one: Ordered, top: int, columns: int) -> None:
    """The answers stand at the left, where a narrow window shows them beside the first frames."""
    good = one.true == one.predicted
    verdict = f"{'right' if good else 'wrong'}, probability {one.probability:.0%}"
    pen.text(_MARGIN, top + 22, one.name, INK, 17)
    pen.text(_MARGIN + max(_LEFT, text_width(one.name, 17) + 24), top + 22, verdict, RIGHT if good else WRONG, 14)
    times = np.linspace(0, one.clips.shape[2] - 1, columns).round().astype(int)
    for slot, clip in enumerate(one.clips):
        y = top + 46 + slot * (CELL[0] + 4)
        pen.text(_MARGIN, y + 20, f"slot {slot + 1}", INK, 14)
        pen.text(_MARGIN, y + 40, f"frames {one.frame[slot, 0]}-{one.frame[slot, -1]}", SOFT, 14)
        pen.text(_MARGIN, y + 62, f"true: {_ordinal(one.true[slot])}", INK, 15)
        color = RIGHT if one.true[slot] == one.predicted[slot] else WRONG
        pen.text(_MARGIN, y + 84, f"predicted: {_ordinal(one.predicted[slot])}", color, 15)
        for column, time in enumerate(times):
            pen.picture(_MARGIN + _LEFT + column * (CELL[1] + 4), y, clip[:, time].transpose(1, 2, 0))


def _ordinal(place: int) -> str:
    return ("1st", "2nd", "3rd", "4th", "5th")[place]
