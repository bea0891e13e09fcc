"""Pictures for the log: the tuples that the encoder was shown, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from vidssl.paths import shown
from vidssl.kernels.plan import Augment

Picture = npt.NDArray[np.uint8]  # [H, W, 3]
_PAPER, _INK, _SOFT, _RIGHT, _WRONG = "#ffffff", "#1d1d1f", "#6e6e73", "#1a7f37", "#b3261e"
_EDGE, _GAP, _LEAST = 12, 8, 72  # pixels; _LEAST: of the smaller side of a frame
FRAMES = 4  # frames shown of a clip, evenly spaced


def undone(clips: torch.Tensor, augment: Augment) -> torch.Tensor:
    """Undoes the normalisation of clips [..., 3, T, H, W]; returns values in 0..1."""
    mean, std = (torch.tensor(value).view(3, 1, 1, 1) for value in (augment.mean, augment.std))
    return clips * std + mean


def as_seen(clips: torch.Tensor, augment: Augment) -> torch.Tensor:
    """Undoes the normalisation of clips [..., 3, T, H, W]; returns uint8 on the CPU."""
    return (undone(clips.detach().float().cpu(), augment) * 255).round().clamp(0, 255).to(torch.uint8)


def tuples(clips: torch.Tensor, true: Sequence[str], found: Sequence[str], names: Sequence[str]) -> Picture:
    """Draws a row for each tuple: its slots from left to right, up to FRAMES frames of each, and its classes and name.

    Args:
        clips: uint8 [N, K, 3, T, H, W].
        true: True class of each tuple.
        found: Predicted class of each tuple.
        names: Name of each tuple, such as the path of its video.
    """
    count, slots, _, times, height, width = clips.shape
    picked = np.linspace(0, times - 1, min(times, FRAMES)).round().astype(int).tolist()
    scale = max(1, -(-_LEAST // min(height, width)))
    cell_h, cell_w = scale * height, scale * width
    block, wide = cell_h + 34, 2 * _EDGE + slots * (len(picked) * (cell_w + 2) + _GAP)
    canvas = Image.new("RGB", (max(wide, 420), 2 * _EDGE + count * block), _PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for row in range(count):
        top = _EDGE + row * block
        good = true[row] == found[row]
        pen.text((_EDGE, top), shown(f"true {true[row]}"), _INK, font)
        pen.text((_EDGE + 110, top), shown(f"predicted {found[row]}"), _RIGHT if good else _WRONG, font)
        pen.text((_EDGE + 270, top), shown(names[row]), _SOFT, font)
        for slot in range(slots):
            for column, time in enumerate(picked):
                x = _EDGE + slot * (len(picked) * (cell_w + 2) + _GAP) + column * (cell_w + 2)
                frame = Image.fromarray(np.ascontiguousarray(clips[row, slot, :, time].permute(1, 2, 0).numpy()))
                canvas.paste(frame.resize((cell_w, cell_h), Image.Resampling.NEAREST), (x, top + 22))
    return np.asarray(canvas)


def confusion(matrix: torch.Tensor, names: Sequence[str]) -> Picture:
    """Draws a confusion matrix int64 [C, C]: rows are true classes, columns predicted ones, in percent of the row."""
    counts = matrix.double().cpu().numpy()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell, left, top = 54 if len(names) <= 12 else 26, 90, 64
    canvas = Image.new("RGB", (left + len(names) * cell + _EDGE, top + len(names) * cell + _EDGE), _PAPER)
    pen, font, small = (
        ImageDraw.Draw(canvas),
        ImageFont.load_default(14),
        ImageFont.load_default(12 if cell > 30 else 9),
    )
    pen.text((_EDGE, _EDGE), "true class (rows), predicted (columns), % of the row", _INK, font)
    for row, name in enumerate(names):
        pen.text((left - 8, top + (row + 0.5) * cell), shown(name), _INK, small, anchor="rm")
        pen.text((left + (row + 0.5) * cell, top - 8), shown(name), _INK, small, anchor="mb")
        for column in range(len(names)):
            value = float(share[row, column])
            tone = tuple(round(255 - value * (255 - full)) for full in (26, 82, 118))
            x, y = left + column * cell, top + row * cell
            pen.rectangle((x, y, x + cell - 2, y + cell - 2), tone)
            pen.text(
                (x + cell / 2 - 1, y + cell / 2 - 1),
                f"{100 * value:.0f}",
                _PAPER if value > 0.5 else _INK,
                small,
                anchor="mm",
            )
    return np.asarray(canvas)
