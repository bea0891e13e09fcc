"""Which videos of a source have a row already, in an index or a journal, because their files have not changed since.

Of a million videos, only the question about each file is asked in Python. Rows are compared as columns.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidssl.index.found import VideoFile
from vidssl.index.frames import size_of
from vidssl.remote import RemotePath

_NUMBERS = ("offset", "bytes", "mtime_ns", "number")
_NONE = -(2**63)  # in the place of a null; none of these columns has it


def identity(root: Path, one: VideoFile) -> tuple[Any, ...] | None:
    """The values that identify an unchanged file, as they are now: path, archive, offset, bytes and time of change.

    None if the file does not exist.
    """
    try:
        # of a million paths, to join the texts takes a tenth of the time
        now = (root / one.file).stat() if isinstance(root, RemotePath) else os.stat(os.path.join(root, one.file))
    except OSError:
        return None
    size = one.bytes if one.packed else now.st_size
    if one.is_frames:
        size = size_of(root / one.file, now.st_size, frames=True)
    return one.path, one.archive, one.offset, size, now.st_mtime_ns


def rows_of_unchanged(
    root: Path, found: Sequence[VideoFile], seen: pa.Table, stream: int | None
) -> npt.NDArray[np.int64]:
    """int64 [len(found)]: for each video, the last row of `seen` that its unchanged file has; -1 if there is none.

    Args:
        root: The folder that paths are relative to.
        found: The videos.
        seen: Rows with the columns of vidssl.index.schema.
        stream: The video stream that is wanted, as in `VideoIndex.build`.
    """
    rows = np.full(len(found), -1, np.int64)
    if not len(seen):
        return rows
    paths = pa.array([one.path for one in found], pa.string())
    archives = pa.array([one.archive or "" for one in found], pa.string())
    now = np.full((len(found), len(_NUMBERS)), _NONE, np.int64)
    now[:, 3] = _NONE if stream is None else stream
    there = np.zeros(len(found), bool)
    for at, one in enumerate(found):
        about = identity(root, one)
        if about is not None:
            there[at] = True
            now[at, :3] = [_NONE if value is None else value for value in about[2:]]
    then = np.stack([seen[name].cast(pa.int64()).fill_null(_NONE).to_numpy() for name in _NUMBERS], axis=1)
    left = np.arange(len(seen))[::-1]  # rows that are looked at, the last ones first
    wanted = np.flatnonzero(there)
    while len(wanted) and len(left):
        place = pc.index_in(paths.take(pa.array(wanted)), value_set=seen["path"].take(pa.array(left)))
        has = pc.is_valid(place).to_numpy(zero_copy_only=False)
        wanted, row = wanted[has], left[place.drop_null().to_numpy()]
        same = pc.equal(seen["archive"].take(pa.array(row)).fill_null(""), archives.take(pa.array(wanted)))
        good = (then[row] == now[wanted]).all(axis=1) & np.asarray(same.to_numpy(), bool)
        rows[wanted[good]] = row[good]
        wanted = wanted[~good]  # an earlier row of this path may be of the file as it is now
        left = left[~np.isin(left, row[~good])] if len(wanted) else left
    return rows


def taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Some rows of a table, in this order. If they are all rows in order, no copy is made: it may be a mapped file."""
    if len(rows) == len(table) and np.array_equal(rows, np.arange(len(table))):
        return table
    return table.take(pa.array(rows, pa.int64()))
