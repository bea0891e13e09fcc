"""Classes and functions of other people's code by name: `module:name`, or `path/to/file.py:name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from vidssl.types import VidsslError


def import_code(code: str, where: str, what: str) -> Any:
    """Import what a name names.

    Args:
        code: module:name, of a module that Python finds, or path/to/file.py:name.
        where: Beginning of an error, such as "encoder='a.py:make':".
        what: What the name should be, such as "function", for errors.

    Raises:
        VidsslError: It cannot be imported, or has nothing of this name that can be called.
    """
    place, _, name = code.rpartition(":")
    if not place or not name:
        raise VidsslError(f"{where} take module:{what} or path/to/file.py:{what}")
    try:
        module = _run_file(Path(place), where) if place.endswith(".py") else importlib.import_module(place)
    except VidsslError:
        raise
    except Exception as error:  # the code may raise anything
        raise VidsslError(
            f"{where} it cannot be imported: {type(error).__name__}: {error}; name a file, or a module that Python "
            "finds (PYTHONPATH)"
        ) from error
    if not callable(found := getattr(module, name, None)):
        raise VidsslError(f"{where} {place} has no {what} {name!r}; name one that it has")
    return found


def check_trusted(where: str, what: str, *, trust_code: bool) -> None:
    """Raise VidsslError if code may not run, with the fix. what: What the code is, such as "this run's task is"."""
    if not trust_code:
        raise VidsslError(
            f"{where} {what} that code, which would be imported and run; read it, and add --trust-code "
            "(trust_code=True in Python) if you trust it"
        )


def _run_file(path: Path, where: str) -> ModuleType:
    """Import a file under a name of its own, so that it hides no other module; once, while it stays as it is."""
    if not path.is_file():
        raise VidsslError(f"{where} no such file (from the folder {str(Path.cwd())!r}); name one that exists")
    digest = hashlib.sha256(str(path.resolve()).encode() + b"\0" + path.read_bytes())
    name = f"vidssl_code_{digest.hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # of every file that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where pickle and dataclasses look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
