"""Text, lines and boxes on a PNG."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vidssl.paths import atomic_write, printable
from vidssl.plots.palette import PAPER

SCALE = 2  # pixels per point, for screens of high resolution


def text_width(words: str, size: float) -> float:
    """Width of a text in points, for a font size in points."""
    return ImageFont.load_default(size).getlength(printable(words))


def shorten(words: str, size: float, width: float) -> str:
    """Cuts a text to `width` points and ends it with "..." if it is wider."""
    if text_width(words, size) <= width:
        return words
    fitting = (count for count in range(len(words), 0, -1) if text_width(words[:count] + "...", size) <= width)
    return words[: next(fitting, 0)] + "..."


class Pen:
    """Draws in points on a white canvas.

    Args:
        width: Width of the canvas, in points.
        height: Height of the canvas, in points.
        scale: Pixels per point.
    """

    def __init__(self, width: float, height: float, *, scale: int = SCALE) -> None:
        self._scale = scale
        self.canvas = Image.new("RGB", (round(scale * width), round(scale * height)), PAPER)
        self._draw = ImageDraw.Draw(self.canvas)

    def text(self, x: float, y: float, words: str, color: str, size: float, anchor: str = "lm") -> None:
        """Draws a text. By default it begins at x, and its middle is at y; `anchor` is one of Pillow's text anchors."""
        font = ImageFont.load_default(self._scale * size)
        self._draw.text((self._scale * x, self._scale * y), printable(words), color, font, anchor=anchor)

    def upward_text(self, x: float, y: float, words: str, color: str, size: float) -> None:
        """Draws a text that runs upwards from y, centred on x."""
        font = ImageFont.load_default(self._scale * size)
        shown = printable(words)
        mask = Image.new("L", (ceil(font.getlength(shown)), ceil(1.3 * self._scale * size)))
        ImageDraw.Draw(mask).text((0, mask.height / 2), shown, 255, font, anchor="lm")
        mask = mask.rotate(90, expand=True)
        corner = (round(self._scale * x - mask.width / 2), round(self._scale * y - mask.height))
        self.canvas.paste(color, corner, mask)

    def line(self, x0: float, y0: float, x1: float, y1: float, color: str, width: float = 1) -> None:
        scale = self._scale
        self._draw.line([(scale * x0, scale * y0), (scale * x1, scale * y1)], color, round(scale * width))

    def box(self, x0: float, y0: float, x1: float, y1: float, color: str | tuple[int, int, int]) -> None:
        scale = self._scale
        corners = (scale * x0, scale * y0, scale * max(x1, x0 + 1), scale * y1)
        self._draw.rounded_rectangle(corners, 2 * scale, color)

    def picture(self, x: float, y: float, picture: npt.NDArray[np.uint8], size: tuple[int, int] | None = None) -> None:
        """Pastes a picture.

        Args:
            x: Left edge, in points.
            y: Upper edge, in points.
            picture: RGB uint8 [H, W, 3].
            size: Height and width in points to which it is resized; None keeps its pixels.
        """
        image = Image.fromarray(np.ascontiguousarray(picture))
        if size is not None:
            image = image.resize((self._scale * size[1], self._scale * size[0]), Image.Resampling.NEAREST)
        self.canvas.paste(image, (round(self._scale * x), round(self._scale * y)))

    def save(self, path: Path) -> None:
        """Writes a PNG. The write is atomic."""
        with atomic_write(path) as aside:
            self.canvas.save(aside, "PNG")
