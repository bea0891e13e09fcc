"""Reads the videos of an index in parallel, and keeps what is finished when it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from vidssl.index.transient import NOT_READ, certain, retries
from vidssl.pools.base import LostError, Part, Pool

_SAVED = 64  # rows in a record of the journal, at most; there is a record at least each second


def read_videos(
    folder: Path,
    found: Sequence[VideoFile],
    *,
    journal: Journal | None,
    pool: Pool,
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
        pool: Reads them.
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
    job = partial(_scan_file, reading, folder, file_timeout, stream)

    def keep(rows: list[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(rows, SCHEMA).combine_chunks()
        batches.extend(table.to_batches())
        known = certain([table]).combine_chunks()
        if journal is not None and len(known):
            journal.add(known.to_batches())

    def read(videos: Sequence[VideoFile], name: str, *, last: bool) -> list[VideoFile]:
        """Scan videos, keep their rows, and return those to read again, one by one."""
        files = [[videos[at] for at in places] for places in by_file(videos)]
        again = []
        with (
            pool.start(
                job, files, name="vidssl-index", file=lambda ones: folder / ones[0].file, workers=1 if last else None
            ) as run,
            tqdm(total=len(files), desc=name, unit="video", disable=None if progress else True) as bar,
        ):
            try:
                for parts in run.parts(most=_SAVED):
                    rows = [pair for part in parts for pair in _rows(part)]
                    keep([row for _, row in rows if last or not retries(_status(row))])
                    again += [one for one, row in rows if not last and retries(_status(row))]
                    bar.update(len(parts))
            except KeyboardInterrupt:
                keep([row for part in run.rest() for _, row in _rows(part)])
                raise
        return again

    try:
        again = read(found, "index", last=False)
        if again:
            read(again, "index again", last=True)
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
    file_timeout: float | None,
    stream: int | None,
    ones: Sequence[VideoFile],
    give: Callable[[pa.RecordBatch], None],
) -> None:
    """Scan a file once, and give one batch with a row of SCHEMA for each of the videos in it, in their order.

    Args:
        reading: `scan`, with the store that keeps its frames. Of a file with excerpts it keeps nothing yet: most of the
            frames may be in none of them.
        folder: The folder that paths are relative to.
        file_timeout: As in `VideoIndex.build`.
        stream: As in `VideoIndex.build`.
        ones: The file, or excerpts of it.
        give: Takes the batch.
    """
    one = ones[0]
    if any(each.excerpt is not None for each in ones):
        reading = scan
    row = reading(folder / one.file, one.offset, one.bytes, one.refused, file_timeout, stream, one.is_frames)
    cutter = Cutter(row)
    give(_batch([make_row(each, cutter.cut(each.excerpt)) for each in ones]))


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def _rows(part: Part[list[VideoFile]]) -> list[tuple[VideoFile, pa.RecordBatch]]:
    """Each video of a file with its row of SCHEMA, also for a file whose worker never returned."""
    if isinstance(part.error, FileTimeoutError | LostError):
        batch = _batch([make_row(one, unusable(f"{NOT_READ}{part.error.reason}")) for one in part.item])
    elif part.error is not None:
        raise part.error
    else:
        [batch] = part.results
    return [(one, batch.slice(at, 1)) for at, one in enumerate(part.item)]


def _status(row: pa.RecordBatch) -> str:
    found: str = row["status"][0].as_py()
    return found


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
