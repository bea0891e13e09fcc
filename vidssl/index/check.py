"""Checks the files of a source one by one: which can be used, and why not the others.

An index of these files is optional. Where there is one, each file is also compared with its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidssl.cpus import cpus
from vidssl.deadline import FileTimeoutError, check_timeout
from vidssl.files import stat_regular
from vidssl.index.build import by_file, make_row
from vidssl.index.excerpts import Cutter
from vidssl.index.found import NOT_UTF8, Ignored, VideoFile
from vidssl.index.frames import size_of
from vidssl.index.scan import scan, unusable
from vidssl.index.schema import SCHEMA
from vidssl.index.sources import find_videos
from vidssl.index.table import ENDING, VideoIndex
from vidssl.index.tars import SPARSE, find_in_tar, is_tar
from vidssl.remote import RemotePath
from vidssl.types import VidsslError
from vidssl.workers import Workers

_SOURCE = frozenset({"path", "label", "group", "archive"})  # columns that the source decides, not the file


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """What is known of one file.

    Attributes:
        path: Its path, as in an index.
        status: "ok", or why the file cannot be used as it is.
        note: What is unusual about a usable file; "" for nothing.
        frames: Number of frames that decode; None if not all were decoded.
        width: Width of the upright picture in pixels; None if no frame decodes.
        height: Height of the upright picture in pixels; None if no frame decodes.
        codec: FFmpeg's name of the codec; None if the file cannot be opened.
        bytes: Size; None if the file cannot be read.
    """

    path: str
    status: str
    note: str = ""
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    codec: str | None = None
    bytes: int | None = None


class Check:
    """The check of every file of a source. Iterating checks the files, and yields each one when it is done.

    Args:
        source: A folder, a list, a tar, or an index (.arrow).
        deep: Decode every frame, as indexing does, and compare all that an index records. False opens each file and
            decodes its first frame.
        workers: Number of threads. None takes one per core.
        file_timeout: Seconds that one file may take, as in `VideoIndex.build`.
        allow_outside: Accept an index that names files outside of its root.

    Attributes:
        done: The files that are checked, by their number. Where iterating is interrupted, it has all that were checked.
        notes: What is worth knowing about the source.

    Raises:
        VidsslError: The source or the index cannot be read, or an argument is out of range.
    """

    def __init__(
        self,
        source: Path,
        *,
        deep: bool = False,
        workers: int | None = None,
        file_timeout: float | None = None,
        allow_outside: bool = False,
    ) -> None:
        check_timeout("check", file_timeout)
        if workers is not None and workers < 1:
            raise VidsslError(f"check: workers={workers}: take at least 1, or None for one per core")
        self._deep, self._workers, self._timeout = deep, workers, file_timeout
        self.done: dict[int, FileCheck] = {}
        self.notes: list[str] = []
        self._index: VideoIndex | None = None
        if source.suffix == ENDING:
            self._index = VideoIndex.load(source, allow_outside=allow_outside)
            self._root, self._files = self._index.root, [*self._index.recorded()]
        else:
            self._root, self._files, self.notes = find_videos(source)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[FileCheck]:
        count = self._workers or cpus()
        with Workers(count, "vidssl-check") as pool:
            jobs = {pool.submit(self._check, rows): rows for rows in by_file(self._files)}
            for job in as_completed(jobs):
                rows = jobs[job]
                try:
                    job.result()
                except FileTimeoutError as late:  # its worker hangs
                    for row in rows:
                        self.done[row] = FileCheck(path=self._files[row].path, status=late.reason)
                for row in rows:
                    yield self.done[row]

    def _check(self, rows: list[int]) -> None:
        read: dict[int | None, Cutter] = {}  # what was found, by the video stream that was read
        for row in rows:
            self.done[row] = self._checked(row, read)

    def _checked(self, row: int, read: dict[int | None, Cutter]) -> FileCheck:
        one = self._files[row]
        known: dict[str, Any] | None = None
        if self._index is not None:
            try:
                known = self._index.row(row)
            except VidsslError as damaged:
                return FileCheck(path=one.path, status=str(damaged))
            path = self._root / one.file
            if reason := _refused(path, one, known) or _changed(one, path, known):
                return FileCheck(path=one.path, status=reason)
        number = None if known is None else known["number"]
        if number not in read:
            place = one.offset, one.bytes, one.refused, self._timeout, number, one.is_frames
            read[number] = Cutter(scan(self._root / one.file, *place, whole=self._deep))
        found = read[number].cut(one.excerpt if self._deep else None)
        if known is not None:
            found["status"] = _compare(one, known, found, self._deep)
        names = ("status", "note", "width", "height", "codec", "bytes")
        values: dict[str, Any] = {name: found.get(name) for name in names}
        return FileCheck(path=one.path, frames=found["frames"] if self._deep else None, **values)


def _refused(path: Path, one: VideoFile, row: dict[str, Any]) -> str:
    """Why listing a source refuses what a row names, which opening a file does not show; "" if it does not.

    Such a row is a file whose name cannot be written, a sparse member, or a tar that cannot be read whole.
    """
    if row["status"] in (NOT_UTF8, SPARSE):
        return str(row["status"])
    if one.archive is not None or not is_tar(one.path) or not path.is_file():
        return ""
    found = find_in_tar(path, one.path, Ignored())
    whole = "it can be read now, but the index leaves it out; index the videos again"
    return found[0].refused if found and found[0].archive is None else whole


def _changed(one: VideoFile, path: Path, row: dict[str, Any]) -> str:
    """How a file differs from the one that was indexed, by size and modification time; "" if it does not."""
    try:
        now = stat_regular(path)
    except FileNotFoundError:
        return "missing: the index has it, but there is no such file"
    except OSError as error:
        return str(row["status"]) if path.is_dir() else f"cannot be read: {error.strerror}"
    if row["mtime_ns"] is None:  # it could not be read when it was indexed
        return ""
    size = size_of(path, now.st_size, frames=one.is_frames)
    if not one.packed and size != row["bytes"]:
        return f"changed since it was indexed: {size} bytes, formerly {row['bytes']}"
    if now.st_mtime_ns != row["mtime_ns"] and isinstance(path, RemotePath):
        return "changed since it was indexed: its server names another version (ETag or time)"
    if now.st_mtime_ns != row["mtime_ns"]:
        return f"changed since it was indexed: modified {(now.st_mtime_ns - row['mtime_ns']) / 1e9:+.1f} s later"
    return ""


def _compare(one: VideoFile, row: dict[str, Any], found: dict[str, Any], deep: bool) -> str:
    """ "ok" if a scan found what the row of an index says, else how they differ."""
    if found["status"] != "ok":
        return str(found["status"])
    if row["status"] != "ok":
        again = f"usable now, but the index leaves it out ({row['status']}); index the videos again"
        return again if deep or row["mtime_ns"] is None else str(row["status"])
    names = SCHEMA.names if deep else found.keys() - unusable("").keys()
    if (row["start"] or one.excerpt is not None) and not deep:  # the first frame of the file is not the row's
        names = {"container", "codec", "stream", "number"}
    # in Arrow's types, as the row: some columns hold fewer digits than Python
    now = pa.RecordBatch.from_pylist([make_row(one, found)], SCHEMA).to_pylist()[0]
    if one.is_frames:
        now["frame_rate"] = row["frame_rate"]  # pictures have none
    differ = [name for name in SCHEMA.names if name in names and name not in _SOURCE and now[name] != row[name]]
    if not differ:
        return "ok"
    said = [f"{name} {now[name]}, formerly {row[name]}" if _short(row[name]) else name for name in differ]
    return f"differs from its row in the index: {'; '.join(said)}; index the videos again"


def _short(value: Any) -> bool:
    return value is not None and not isinstance(value, list)
