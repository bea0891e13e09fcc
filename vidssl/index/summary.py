"""Lists rows of the index with their reasons, for people."""

from __future__ import annotations

from collections import Counter

from vidssl.paths import printable

_NAMED = 20  # rows that are named one by one


def listed(what: str, entries: list[tuple[str, str]]) -> list[str]:
    """One line per row for the first rows, then the number of further rows for each reason.

    Args:
        what: What the rows are, as each line begins.
        entries: (path, reason) of each row.
    """
    lines = [f"  {what}: {printable(path)}: {printable(reason)}" for path, reason in entries[:_NAMED]]
    more = Counter(reason for _, reason in entries[_NAMED:])
    lines += [f"  {what}: {count} more: {printable(reason)}" for reason, count in more.most_common(_NAMED)]
    rest = sum(count for _, count in more.most_common()[_NAMED:])
    return [*lines, f"  {what}: {rest} more, for other reasons"] if rest else lines
