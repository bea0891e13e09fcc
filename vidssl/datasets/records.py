"""Reads the JSON files of a data set's release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidssl.index.lists import read_list_text
from vidssl.types import VidsslError

_WIDTH = 100  # characters of a value that an error shows


def read_json(path: Path) -> object:
    """The content of a JSON file.

    Raises:
        VidsslError: The file cannot be read, is no JSON, or has a key twice in one object.
    """
    where = f"annotations: {path}"
    try:
        return json.loads(read_list_text(path, where), object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        raise VidsslError(
            f"{where}: line {error.lineno}, column {error.colno}: not JSON ({error.msg}); take the release's file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise VidsslError(f"{where}: cannot be read as JSON ({error}); take the release's file") from error


def read_records(path: Path, key: str) -> list[dict[str, Any]]:
    """The objects of a JSON list. Each has the key.

    Raises:
        VidsslError: As `read_json`, or the content is no list of objects with the key.
    """
    found = read_json(path)
    if not isinstance(found, list):
        raise VidsslError(f"annotations: {path}: not a list of objects with {key!r}; take the release's file")
    for at, one in enumerate(found, start=1):
        if not isinstance(one, dict) or key not in one:
            raise VidsslError(f"annotations: {path}: entry {at}: {brief(one)} has no {key!r}; take the release's file")
    return found


def brief(value: object) -> str:
    """A value of a file as JSON, cut to a readable length."""
    text = json.dumps(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."


def first_five(path: Path, wrong: list[str]) -> list[str]:
    """Problems of a file's entries: the first five, and the number of the others."""
    more = [f"{path.name}: and {len(wrong) - 5} more such entries"] if len(wrong) > 5 else []
    return [*(f"{path.name}: {what}" for what in wrong[:5]), *more]


def without_list(path: Path, part: str, problems: list[str], notes: list[str]) -> None:
    """Say that the list of a part is missing: a problem, but of the test set only a note."""
    lacks = f"{path.name} is missing in {path.parent}"
    if part == "test":
        notes.append(f"{lacks}, so there is no test set; training and validation do not need it")
    else:
        problems.append(lacks)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return found
