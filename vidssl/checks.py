"""Whether an argument is a number, a size or a word that a function takes. Any object may be asked about."""

from __future__ import annotations

import operator
from collections.abc import Container
from typing import Any

MAX_SIDE = 2**24 - 1  # the longest side of a picture, as in csrc/kernels/view.h


def is_whole(value: Any, least: int, most: int) -> bool:
    """True for a whole number of any library in least..most. True and False are no numbers."""
    try:
        return not isinstance(value, bool) and least <= operator.index(value) <= most
    except TypeError:
        return False


def is_real(value: object, least: float, most: float) -> bool:
    """True for a Python number in least..most."""
    return isinstance(value, int | float) and least <= value <= most


def is_size(value: object) -> bool:
    """True for a (height, width) of whole numbers in 1..MAX_SIDE."""
    return isinstance(value, tuple | list) and len(value) == 2 and all(is_whole(n, 1, MAX_SIDE) for n in value)


def is_word(value: object, words: Container[str]) -> bool:
    """True for one of the strings in a collection."""
    return isinstance(value, str) and value in words
