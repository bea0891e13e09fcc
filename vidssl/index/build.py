"""Reads the videos of an index in parallel, and keeps what is finished when it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from vidssl.deadline import FileTimeoutError
from vidssl.index.excerpts import Cutter
from vidssl.index.found import VideoFile
from vidssl.index.journal import Journal
from vidssl.index.scan import KeepsFrames, scan, unusable
from vidssl.index.schema import SCHEMA
from vidssl.index.transient import NOT_READ, retries
from vidssl.workers import Workers, finished

_SAVED = 64  # rows in a record of the journal, at most; there is a record at least each second


def read_videos(
    folder: Path,
    found: Sequence[VideoFile],
    *,
    journal: Journal | None,
    workers: int,
    progress: bool,
    file_timeout: float | None,
    stream: int | None = None,
    store: KeepsFrames | None = None,
) -> pa.Table:
    """Scan videos. Files that the machine did not let us read are read once more at the end, one by one.

    Args:
        folder: The folder that paths are relative to.
        found: The videos.
        journal: Gets the rows that are certain, as they are finished.
        workers: Number of threads.
        progress: Show a progress bar.
        file_timeout: As in `VideoIndex.build`.
        stream: As in `VideoIndex.build`.
        store: As in `VideoIndex.build`.

    Returns:
        A row for each video, in any order.

    Raises:
        KeyboardInterrupt: Ctrl-C. The message says what is kept.
    """
    batches: list[pa.RecordBatch] = []
    reading = scan if store is None else partial(scan, store=store)

    def keep(rows: list[dict[str, Any]]) -> None:
        batches.append(pa.RecordBatch.from_pylist(rows, SCHEMA))
        certain = [row for row in rows if not row["status"].startswith(NOT_READ)]
        if journal is not None and certain:
            journal.add([pa.RecordBatch.from_pylist(certain, SCHEMA)])

    def read(videos: Sequence[VideoFile], pool: Workers, name: str, *, last: bool) -> list[VideoFile]:
        """Scan videos, keep their rows, and return those to read again."""
        files = [[videos[at] for at in places] for places in by_file(videos)]
        jobs = {pool.submit(_scan_file, reading, folder, ones, file_timeout, stream): ones for ones in files}
        again = []
        with tqdm(total=len(jobs), desc=name, unit="video", disable=None if progress else True) as bar:
            try:
                for done in finished(jobs, most=_SAVED):
                    rows = [pair for job in done for pair in _rows(jobs.pop(job), job)]
                    keep([row for _, row in rows if last or not retries(row["status"])])
                    again += [one for one, row in rows if not last and retries(row["status"])]
                    bar.update(len(done))
            except KeyboardInterrupt:
                keep([row for job, ones in jobs.items() if job.done() for _, row in _rows(ones, job)])
                raise
        return again

    try:
        with Workers(workers, "vidssl-index") as pool:
            again = read(found, pool, "index", last=False)
        if again:
            with Workers(1, "vidssl-index") as pool:
                read(again, pool, "index again", last=True)
    except KeyboardInterrupt:
        count = sum(map(len, batches))
        kept = "none is kept" if journal is None else "they are kept, and the same command continues"
        raise KeyboardInterrupt(f"stopped: {count} of {len(found)} files are read; {kept}") from None
    finally:
        if store is not None:
            store.flush()
    return pa.Table.from_batches(batches, SCHEMA)


def by_file(videos: Sequence[VideoFile]) -> list[list[int]]:
    """Positions of videos: those that are excerpts of the same file together, so that it is read once."""
    files: dict[tuple[str, int | None], list[int]] = {}
    for at, one in enumerate(videos):
        files.setdefault((one.file, one.offset), []).append(at)
    return list(files.values())


def _scan_file(
    reading: Callable[..., dict[str, Any]],
    folder: Path,
    ones: Sequence[VideoFile],
    file_timeout: float | None,
    stream: int | None,
) -> list[dict[str, Any]]:
    """Scan a file once, and return a row of SCHEMA for each of the videos in it, in their order.

    Args:
        reading: `scan`, with the store that keeps its frames. Of a file with excerpts it keeps nothing yet: most of the
            frames may be in none of them.
        folder: The folder that paths are relative to.
        ones: The file, or excerpts of it.
        file_timeout: As in `VideoIndex.build`.
        stream: As in `VideoIndex.build`.
    """
    one = ones[0]
    if any(each.excerpt is not None for each in ones):
        reading = scan
    row = reading(folder / one.file, one.offset, one.bytes, one.refused, file_timeout, stream, one.is_frames)
    cutter = Cutter(row)
    return [make_row(each, cutter.cut(each.excerpt)) for each in ones]


def _rows(ones: Sequence[VideoFile], job: Future[list[dict[str, Any]]]) -> list[tuple[VideoFile, dict[str, Any]]]:
    """Each video of a file with its row of SCHEMA, also for a file whose worker never returned."""
    try:
        rows = job.result()
    except FileTimeoutError as late:
        rows = [make_row(one, unusable(f"{NOT_READ}{late.reason}")) for one in ones]
    return list(zip(ones, rows, strict=True))


def make_row(one: VideoFile, row: dict[str, Any]) -> dict[str, Any]:
    """A row of SCHEMA from what the source says about a file, and what `scan` or `cut` found."""
    row = {name: value for name, value in row.items() if name != "times"}
    if row.get("excerpt") is None and row["packet"] == list(range(len(row["packet"]))):
        row["packet"] = None
    return {
        "path": one.path,
        "label": one.label,
        "group": one.group,
        "archive": one.archive,
        "offset": one.offset,
        **row,
    }
