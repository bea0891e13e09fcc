"""Pieces of HTML that the parts of the page share. Text is escaped here; cells of tables are HTML already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from vidssl.paths import printable


def text(words: object) -> str:
    """Text as HTML that shows it as it is, control characters escaped."""
    return escape(printable(words))


def cell(one: Mapping[str, float | None]) -> str:
    """A figure in percent, with its interval if it has one. one: value, low and high."""
    low, high = one["low"], one["high"]
    interval = "" if low is None or high is None else f" <small>[{100 * low:.1f}, {100 * high:.1f}]</small>"
    return f"{100 * (one['value'] or 0.0):.1f}{interval}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, kind: str = "") -> str:
    """A table that scrolls sideways where it is too wide. rows: HTML; head: text; kind: class of the table."""
    top = "".join(f"<th>{text(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    of = f' class="{kind}"' if kind else ""
    return f'<div class="wide"><table{of}><tr>{top}</tr>{lines}</table></div>'
