"""OUT/prepared.jsonl: what `prepare` made, so that a later call continues, keeps names, and finds stale copies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidssl.files import parse_json, read_text
from vidssl.paths import open_append, output_path
from vidssl.prepare.encode import Encoding
from vidssl.types import VidsslError

JOURNAL = "prepared.jsonl"  # in OUT: the settings, then one line for each file that was made or failed
_SOURCE = ("path", "bytes", "mtime_ns")


class Journal:
    """The journal of OUT. A context manager while it is written to. Damaged lines are ignored.

    Args:
        out: The folder of the new videos.
        how: The settings; None takes those of the journal.

    Raises:
        VidsslError: The videos in `out` were made with other settings, or the journal cannot be read.
    """

    def __init__(self, out: Path, how: Encoding | None) -> None:
        self._path, self._out = out / JOURNAL, out
        self._done: dict[str, dict[str, Any]] = {}  # by path of the source: the last line about it
        self._lists: set[str] = set()
        found = self._read()
        settings = {} if how is None else asdict(how)
        then = next((one["settings"] for one in found if isinstance(one.get("settings"), dict)), None)
        if how is not None and then is not None and then != settings:
            changed = "; ".join(
                f"{key}: formerly {then.get(key)}, now {value}"
                for key, value in settings.items()
                if then.get(key) != value
            )
            raise VidsslError(
                f"prepare: out={str(out)!r}: made with other settings ({changed}); "
                "use the former settings, or another folder"
            )
        for one in found:
            if isinstance(one.get("path"), str):
                self._done[one["path"]] = one
            if isinstance(one.get("lists"), list):
                self._lists |= {name for name in one["lists"] if isinstance(name, str)}
        self._first = {"settings": settings} if then is None else None

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        try:
            text = read_text(self._path)
        except (OSError, UnicodeDecodeError) as error:
            raise VidsslError(f"prepare: {self._path}: cannot be read ({error}); take another folder") from error
        found = []
        for line in text.split("\n"):
            try:
                one = parse_json(line)
            except ValueError:
                continue
            if isinstance(one, dict):
                found.append(one)
        return found

    def __enter__(self) -> Journal:
        cut = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        self._file = open_append(self._path)
        if cut:
            self._file.write("\n")
        if self._first is not None:
            self._write(self._first)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def names(self) -> dict[str, str]:
        """Path of each source that was ever made to the path of its copy below OUT."""
        return {path: one["target"] for path, one in self._done.items() if isinstance(one.get("target"), str)}

    def has(self, source: dict[str, Any], target: str) -> bool:
        """Return True if OUT/`target` was made from this version of the source, and still has its size."""
        one = self._done.get(source["path"])
        return (
            one is not None
            and not one.get("reason")
            and one.get("target") == target
            and all(one.get(key) == source[key] for key in _SOURCE)
            and _size(self._out / target) == one.get("size")
        )

    def add(self, source: dict[str, Any], target: str, reason: str) -> None:
        """Record that a file was made or, with a reason, failed. A failed file keeps its name for the next call."""
        size = None if reason else (self._out / target).stat().st_size
        self._done[source["path"]] = {**source, "target": target, "size": size, "reason": reason}
        self._write(self._done[source["path"]])

    def add_lists(self, names: Iterable[str]) -> None:
        """Record the lists that were copied."""
        new = sorted({*names} - self._lists)
        if new:
            self._lists |= {*new}
            self._write({"lists": new})

    def stale(self, current: Iterable[str], lists: Iterable[str]) -> list[str]:
        """Files that earlier calls made in OUT, and that are neither `current` copies nor copied `lists`, ascending."""
        made = {*self.names().values(), *self._lists} - {*current, *lists}
        return sorted(name for name in made if _size(self._out / name) is not None and self._is_own(name))

    def _is_own(self, name: str) -> bool:
        """Return True if a file lies below OUT, and is no link: the journal may be damaged, or forged."""
        try:
            return not output_path(self._out, name).is_symlink()
        except VidsslError:
            return False

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")


def _size(path: Path) -> int | None:
    """The size of a regular file; None if there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None
