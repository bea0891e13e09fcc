"""OUT/prepared.jsonl: what `prepare` made, so that a later call continues, keeps names, and finds stale copies.

Before a file gets its name in OUT, its size and time of change are recorded. So whatever stops a call, a later one can
tell the files that `prepare` wrote from those that a user put there under the same names.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from vidssl.files import byte_lines, parse_json
from vidssl.paths import atomic_write, open_append, output_path, printable
from vidssl.prepare.encode import Encoding
from vidssl.types import VidsslError

JOURNAL = "prepared.jsonl"  # in OUT: the settings, then a line for each file written, and each video made or failed
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
        self._written: dict[str, set[tuple[int, int]]] = {}  # by name: (size, mtime_ns) of each file written there
        self._lock = Lock()  # workers and the main thread write lines
        then: dict[str, Any] | None = None
        for one in self._read():
            if then is None and isinstance(one.get("settings"), dict):
                then = one["settings"]
            if isinstance(one.get("path"), str):
                self._done[one["path"]] = one
            if isinstance(one.get("lists"), list):
                self._lists |= {name for name in one["lists"] if isinstance(name, str)}
            match one:
                case {"written": str(name), "size": int(size), "mtime_ns": int(time)}:
                    self._written.setdefault(name, set()).add((size, time))
        settings = {} if how is None else asdict(how)
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
        self._first = {"settings": settings} if then is None else None

    def _read(self) -> Iterator[dict[str, Any]]:
        """Yields the lines, one at a time, as they grow with the number of videos."""
        if not self._path.is_file():
            return
        try:
            for line in byte_lines(self._path):
                try:
                    one = parse_json(line)
                except ValueError:
                    continue
                if isinstance(one, dict):
                    yield one
        except OSError as error:
            raise VidsslError(f"prepare: {self._path}: cannot be read ({error}); take another folder") from error

    def __enter__(self) -> Journal:
        cut = not _ends_with_a_line(self._path)
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

    def files(self) -> set[str]:
        """Paths below OUT of all files that were ever made there."""
        return {*self.names().values(), *self._lists, *self._written}

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

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a temporary path, which replaces OUT/`name` when the block ends, after it was recorded.

        Raises:
            VidsslError: OUT/`name` is not a file that `prepare` wrote.
        """
        with atomic_write(self._out / name) as aside:
            yield aside
            self.check([name])
            about = aside.stat()
            self._write({"written": name, "size": about.st_size, "mtime_ns": about.st_mtime_ns}, sync=True)
            self._written.setdefault(name, set()).add((about.st_size, about.st_mtime_ns))

    def check(self, names: Iterable[str]) -> None:
        """Raise VidsslError if one of these names in OUT is taken by anything but an unchanged file of `prepare`."""
        taken = [name for name in names if not self.may_write(name)]
        if taken:
            more = f" (and {len(taken) - 1} more such files)" if len(taken) > 1 else ""
            raise VidsslError(
                f"prepare: out={str(self._out)!r}: {printable(taken[0])} in it would be replaced, but `prepare` did "
                f"not write it, or it has changed since{more}; move it elsewhere, and call it again"
            )

    def may_write(self, name: str) -> bool:
        """Return True if OUT/`name` does not exist, or is unchanged since `prepare` wrote it."""
        return not os.path.lexists(self._out / name) or self.unchanged(name)

    def unchanged(self, name: str) -> bool:
        """Return True if OUT/`name` has the size and time of a file that `prepare` wrote there."""
        try:
            about = (self._out / name).lstat()
        except (OSError, ValueError):  # a name that no file can have
            return False
        return stat.S_ISREG(about.st_mode) and (about.st_size, about.st_mtime_ns) in self._written.get(name, ())

    def stale(self, current: Iterable[str]) -> list[str]:
        """Files that earlier calls made in OUT, and that are not among the `current` ones, ascending."""
        made = self.files() - {*current}
        return sorted(name for name in made if _size(self._out / name) is not None and self._is_own(name))

    def _is_own(self, name: str) -> bool:
        """Return True if a file lies below OUT, and is no link: the journal may be damaged, or forged."""
        try:
            return not output_path(self._out, name).is_symlink()
        except VidsslError:
            return False

    def _write(self, line: dict[str, Any], *, sync: bool = False) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            if sync:
                self._file.sync()


def _ends_with_a_line(path: Path) -> bool:
    """Return True if the last line of a file is whole, or there is none."""
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _size(path: Path) -> int | None:
    """The size of a regular file; None if there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None
