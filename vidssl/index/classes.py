"""The order of classes. A class's number, such as `Batch.target`, is its place in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"-?[0-9]{1,18}")


def sort_classes(names: Iterable[str]) -> list[str]:
    """Sort the names of classes, each once: whole numbers by their value ("2" before "10"), then the others as text."""

    def key(name: str) -> tuple[bool, int, str]:
        number = _NUMBER.fullmatch(name)
        return number is None, int(name) if number else 0, name

    return sorted(set(names), key=key)
