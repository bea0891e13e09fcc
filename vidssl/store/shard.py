"""A shard: one file of a store. It holds blocks of frames, is written once, and never changed.

A shard is an Arrow IPC file with checksums (vidssl.index.checksums), so that other tools can read it and a damaged one
is noticed. A row is a block of at most BLOCK frames. The blocks of one record batch lie behind each other in memory;
the frames of a video, if written at once, can therefore be read without a copy.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.files import stat_regular
from vidssl.index.checksums import ChecksummedFile, ChecksummedWriter
from vidssl.paths import atomic_write
from vidssl.types import VidsslError

VERSION = 1  # of the format; a store of another version is refused
BLOCK = 16  # frames
SCHEMA = pa.schema(
    [
        ("key", pa.binary(16)),  # of the video and the size of its frames: see vidssl.store.key
        ("first", pa.int32()),  # number of the block's first frame, a multiple of BLOCK
        ("frames", pa.int32()),  # number of frames, BLOCK except in the last block of a video
        ("data", pa.large_binary()),  # uint8 [frames, 3 * rows / 2, cols], planar YUV 4:2:0
    ]
)
ENDING = ".frames.arrow"
SCORES = ".motion.arrow"  # of shards whose data are motion: see vidssl.store.scores
_FILES = 512  # files that a process may open beside shards
_SIZE = b"vidssl.size"  # in the metadata of the schema


def shard_paths(folder: Path, ending: str | tuple[str, ...] = ENDING) -> list[Path]:
    """Returns the files of the shards in a folder. Raises OSError if it cannot be read."""
    names = (name for name in os.listdir(folder) if name.endswith(ending) and not name.startswith("."))
    return [folder / name for name in sorted(names)]


def max_shards(count: int) -> int:
    """Lets this process open `count` shards, if the system does. Returns how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + _FILES  # a shard and its memory map have a file each
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return count if soft == resource.RLIM_INFINITY else max(0, (soft - _FILES) // 2)


class Run(NamedTuple):
    """Consecutive blocks of one video in one record batch.

    Attributes:
        key: Of the video.
        first: Number of the first frame.
        frames: Number of frames.
        row: Row of the first block in the shard.
    """

    key: bytes
    first: int
    frames: int
    row: int


class ShardWriter:
    """Writes one shard. The file appears complete when the context ends, or not at all.

    Args:
        path: The file.
        size_text: Size of the frames, for people who list the shard.

    Attributes:
        frames, bytes: What was added.

    Raises:
        OSError: The file cannot be written. The other methods raise this too.
    """

    def __init__(self, path: Path, size_text: str) -> None:
        self.path, self.frames, self.bytes = path, 0, 0
        self._stack = ExitStack()
        schema = SCHEMA.with_metadata({_SIZE: size_text})
        self._writer = ChecksummedWriter(self._stack.enter_context(atomic_write(path)), schema)

    def add(self, key: bytes, first: int, data: npt.NDArray[np.uint8]) -> None:
        """Appends frames of one video as one record batch.

        Args:
            key: Of the video.
            first: Number of the first frame, a multiple of BLOCK.
            data: uint8 [F, 3 * rows / 2, cols], contiguous.
        """
        starts = np.arange(0, len(data), BLOCK)
        ends = np.append(starts[1:], len(data))
        offsets = np.append(starts, len(data)) * (data.nbytes // len(data))
        blocks = pa.Array.from_buffers(
            pa.large_binary(), len(starts), [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
        )
        columns = [
            pa.array([key] * len(starts), SCHEMA.field("key").type),
            pa.array(first + starts, pa.int32()),
            pa.array(ends - starts, pa.int32()),
            blocks,
        ]
        self._writer.write(pa.record_batch(columns, schema=SCHEMA))
        self.frames, self.bytes = self.frames + len(data), self.bytes + data.nbytes

    def close(self) -> None:
        """Completes the file."""
        with self._stack:
            self._writer.close()

    def discard(self) -> None:
        """Deletes the file."""
        try:
            with self._stack:
                raise InterruptedError
        except InterruptedError:
            pass


class Shard:
    """A shard, mapped into memory.

    The file may be deleted, or replaced by renaming, at any time. If it is changed in place, reads raise an error from
    then on. Only if it is truncated, or its disk fails, in the moment between a read and the use of the frames, the
    process ends with SIGBUS, as with any mapped file.

    Args:
        path: The file.

    Attributes:
        bytes: Length of the file.
        size_text: Size of its frames as a recipe states it; "" if it is not noted.

    Raises:
        OSError: The file cannot be opened.
        VidsslError: The file is damaged, or not a shard of this version.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.bytes = path, stat_regular(path).st_size  # a pipe would be waited for
        self._file = ChecksummedFile(path, "`vidssl store fill`", _SIZE)
        self._table = self._file.open()
        if self._table.schema != SCHEMA:
            raise VidsslError(f"path={str(path)!r}: not a shard of version {VERSION}; move it elsewhere")
        if not len(self._table) or any(column.null_count for column in self._table.columns):
            raise VidsslError(f"path={str(path)!r}: a shard with missing values; delete it")
        self.size_text = self._file.metadata.get(_SIZE, b"").decode(errors="replace")
        columns = self._file.columns(["key", "first", "frames"])
        self._first = np.asarray(columns["first"].to_numpy(), np.int64)
        self._frames = np.asarray(columns["frames"].to_numpy(), np.int64)
        right = (self._first >= 0) & (self._first % BLOCK == 0) & (self._frames >= 1) & (self._frames <= BLOCK)
        if not right.all():
            raise VidsslError(f"path={str(path)!r}: its blocks are not those of a store; delete it")
        self._keys = columns["key"]
        chunks = self._table["data"].chunks
        self._ends = np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
        self._offsets = [np.frombuffer(chunk.buffers()[1], np.int64)[: len(chunk) + 1] for chunk in chunks]
        self._values = [np.frombuffer(chunk.buffers()[2] or b"", np.uint8) for chunk in chunks]
        self._good = np.zeros(len(self._first), bool)

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self._first)

    @property
    def pages(self) -> npt.NDArray[np.uint8]:
        """The mapped file, uint8 [bytes]."""
        return np.frombuffer(self._file.mapping, np.uint8)

    def runs(self) -> Iterator[Run]:
        """Yields the runs of consecutive blocks."""
        begin = 0
        keys = self._keys.to_pylist()
        starts = {int(end) for end in self._ends}
        for row in range(1, len(self) + 1):
            if (
                row == len(self)
                or row in starts
                or keys[row] != keys[begin]
                or self._first[row] != self._first[row - 1] + self._frames[row - 1]
            ):
                yield Run(keys[begin], int(self._first[begin]), int(self._frames[begin:row].sum()), begin)
                begin = row

    def frame_bytes(self, run: Run) -> int:
        """Bytes of a frame of a run, unchecked."""
        batch = int(np.searchsorted(self._ends, run.row, side="right"))
        at = run.row - (int(self._ends[batch - 1]) if batch else 0)
        begin, end = map(int, self._offsets[batch][at : at + 2])
        return (end - begin) // int(self._frames[run.row])

    def read(self, run: Run, first: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        """Returns frames first, first + 1, ... of a run as a read-only view uint8 `shape` of the mapped file.

        The checksum of a block is compared when the block is read for the first time.

        Raises:
            ChangedError: The file was changed in place.
            VidsslError: A block is damaged, or its frames have another size.
        """
        self._file.check_unchanged()
        begin = first - run.first
        rows = range(run.row + begin // BLOCK, run.row + (begin + shape[0] - 1) // BLOCK + 1)
        for row in rows:
            if not self._good[row]:
                self.check(row, shape[1] * shape[2])
        batch = int(np.searchsorted(self._ends, run.row, side="right"))
        at = rows[0] - (int(self._ends[batch - 1]) if batch else 0)
        each = shape[1] * shape[2]
        start = int(self._offsets[batch][at]) + begin % BLOCK * each
        return self._values[batch][start : start + shape[0] * each].reshape(shape)

    def check(self, row: int, frame_bytes: int | None = None) -> None:
        """Compares the checksum of a block.

        frame_bytes: Bytes of one frame; None takes any that fits.

        Raises:
            VidsslError: The block is damaged, or its frames have another size.
        """
        self._file.check_row(row)
        batch = int(np.searchsorted(self._ends, row, side="right"))
        at = row - (int(self._ends[batch - 1]) if batch else 0)
        begin, end = map(int, self._offsets[batch][at : at + 2])
        count, whole = int(self._frames[row]), end - begin
        right = count * frame_bytes if frame_bytes is not None else whole
        if not 0 <= begin <= end <= len(self._values[batch]) or whole != right or not 1 <= count <= BLOCK:
            raise VidsslError(f"path={str(self.path)!r}: block {row} has {whole} bytes for {count} frames; delete it")
        self._good[row] = True
