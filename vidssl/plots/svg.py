"""Elements of inline SVG. The page's style sheet defines their classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """A text element of class `kind`; `anchor` is SVG's text-anchor."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def document(width: float, height: float, parts: Sequence[str]) -> str:
    """An svg element of the given size in pixels."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{"".join(parts)}</svg>'
