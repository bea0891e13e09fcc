"""Text, lines and boxes on a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vidssl.paths import atomic_write, printable
from vidssl.plots.palette import PAPER

SCALE = 2  # pixels a point, for screens with fine pixels


class Pen:
    """Draws in points on a white canvas. Text stands with its middle at y.

    Args:
        width: Of the canvas, in points.
        height: Of the canvas, in points.
        scale: Pixels a point.
    """

    def __init__(self, width: float, height: float, *, scale: int = SCALE) -> None:
        self._scale = scale
        self.canvas = Image.new("RGB", (round(scale * width), round(scale * height)), PAPER)
        self._draw = ImageDraw.Draw(self.canvas)

    def text(self, x: float, y: float, words: str, color: str, size: float, anchor: str = "lm") -> None:
        font = ImageFont.load_default(self._scale * size)
        self._draw.text((self._scale * x, self._scale * y), printable(words), color, font, anchor=anchor)

    def line(self, x0: float, y0: float, x1: float, y1: float, color: str, width: float = 1) -> None:
        scale = self._scale
        self._draw.line([(scale * x0, scale * y0), (scale * x1, scale * y1)], color, round(scale * width))

    def box(self, x0: float, y0: float, x1: float, y1: float, color: str | tuple[int, int, int]) -> None:
        scale = self._scale
        corners = (scale * x0, scale * y0, scale * max(x1, x0 + 1), scale * y1)
        self._draw.rounded_rectangle(corners, 2 * scale, color)

    def picture(self, x: float, y: float, picture: npt.NDArray[np.uint8], size: tuple[int, int] | None = None) -> None:
        """Pastes RGB uint8 [H, W, 3] with its upper left corner at (x, y).

        size: (height, width) in points to enlarge it to; None takes its own pixels.
        """
        image = Image.fromarray(np.ascontiguousarray(picture))
        if size is not None:
            image = image.resize((self._scale * size[1], self._scale * size[0]), Image.Resampling.NEAREST)
        self.canvas.paste(image, (round(self._scale * x), round(self._scale * y)))

    def save(self, path: Path) -> None:
        """Writes a PNG; it appears whole or not at all."""
        with atomic_write(path) as aside:
            self.canvas.save(aside, "PNG")
