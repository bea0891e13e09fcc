"""The pretext tasks that recipes and checkpoints name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from vidssl.code import check_trusted, import_code
from vidssl.pretext.base import Pretext
from vidssl.types import VidsslError

METHODS: dict[str, type[Pretext]] = {}
CODE: dict[str, str] = {}  # name of a task -> the code of its class, of those that were imported by import_pretext

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


def import_pretext(code: str) -> type[Pretext]:
    """Import and register the class of a task, which checkpoints then name by its code.

    Args:
        code: module:Class, of a module that Python finds, or path/to/file.py:Class.

    Raises:
        VidsslError: It cannot be imported, is no subclass of Pretext, or another task has its name.
    """
    where = f"pretext={code!r}:"
    found = import_code(code, where, "class")
    if not (isinstance(found, type) and issubclass(found, Pretext)):
        raise VidsslError(f"{where} it is no subclass of vidssl.pretext.Pretext; name a class that is one")
    CODE[register(found).name] = code
    return found


def import_pretexts(code: Mapping[str, str], *, trust_code: bool) -> None:
    """Import the classes of a checkpoint's tasks, unless tasks of their names are known.

    Args:
        code: The code of each task, by its name.
        trust_code: Whether the caller allows it to run.

    Raises:
        VidsslError: It may not run, or it has no task of this name.
    """
    for name, one in code.items():
        if name in METHODS:
            continue
        check_trusted(f"pretext={one!r}:", f"this run's task {name!r} is", trust_code=trust_code)
        if (found := import_pretext(one).name) != name:
            raise VidsslError(f"pretext={one!r}: its name is {found!r}, but the run's task was {name!r}; restore it")
