"""The pretext tasks that recipes and checkpoints name."""

from __future__ import annotations

from typing import TypeVar

from vidssl.pretext.base import Pretext
from vidssl.types import VidsslError

METHODS: dict[str, type[Pretext]] = {}

P = TypeVar("P", bound=type[Pretext])


def register(method: P) -> P:
    """Add a class to METHODS under its `name`, so that its checkpoints can be loaded. Works as a decorator.

    Args:
        method: A subclass of Pretext.

    Returns:
        The class itself.

    Raises:
        VidsslError: Another class has this name, or it has a character that joins names of tasks.
    """
    if any(mark in method.name for mark in "+,."):
        raise VidsslError(f"register: name={method.name!r}: +, comma and dot join names; take letters, digits and _")
    known = METHODS.get(method.name)
    if known is not None and (known.__module__, known.__qualname__) != (method.__module__, method.__qualname__):
        raise VidsslError(
            f"register: name={method.name!r}: {known.__module__}.{known.__qualname__} has this name; take another one"
        )
    METHODS[method.name] = method
    return method
