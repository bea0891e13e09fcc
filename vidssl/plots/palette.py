"""The colours of all pictures."""

from __future__ import annotations

PAPER, INK, SOFT, GRID = "#ffffff", "#1d1d1f", "#6e6e73", "#e5e5ea"
RIGHT, WRONG = "#1a7f37", "#b3261e"
BLUE, PALE_BLUE = "#3b6ea8", "#b9c6d8"
_SERIES = (BLUE, "#c2571a", RIGHT, "#8e3b8e", WRONG, SOFT, "#b08900", "#1f8a8a", "#d1568b", "#5b4fc7")


def series(count: int) -> list[str]:
    """Colours of `count` lines. They repeat after ten."""
    return [_SERIES[at % len(_SERIES)] for at in range(count)]


def shade(fraction: float) -> tuple[int, int, int]:
    """Red, green and blue in 0..255: white for 0, deep blue for 1."""
    red, green, blue = (round(255 - fraction * (255 - full)) for full in (26, 82, 118))
    return red, green, blue
