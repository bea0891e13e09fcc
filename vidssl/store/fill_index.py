"""Decodes all that a store lacks of an index, in a pool.

Threads write to the store themselves. Jobs that share no memory with it send their frames here, in order, and videos
come in the order of their rows: the shards are then the same as those of one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tqdm import tqdm

from vidssl.deadline import Deadline, check_timeout
from vidssl.index.table import VideoIndex
from vidssl.pools.base import Engine, Pool
from vidssl.pools.choose import open_pool
from vidssl.store.fill import Keeper, KeeperSink, Outcome, Size, Store, keep
from vidssl.store.shard import BLOCK
from vidssl.store.writer import Claim
from vidssl.types import VidsslError, planar_shape
from vidssl.video.decode import Video, decode_to


def fill(
    store: Store,
    index: VideoIndex,
    *,
    workers: int | None,
    progress: bool,
    file_timeout: float | None,
    engine: Engine,
) -> list[tuple[str, str]]:
    """Implements `FrameStore.fill`."""
    check_timeout("FrameStore.fill", file_timeout)
    usable = index.usable()
    if not len(usable):
        raise VidsslError(
            f"FrameStore.fill: index: none of its {len(index)} videos can be used, so name others; {index.why_none()}"
        )
    failed: list[tuple[str, str]] = []
    rows: list[int] = usable[store.missing_of(index) > 0].tolist()
    with open_pool("FrameStore.fill", engine, workers) as pool:
        for _ in range(2):  # what another process keeps at first may be kept, or given up, when all others are
            if rows:
                try:
                    work = _fill_apart if pool.apart else _fill
                    rows = work(store, index, rows, failed, pool, progress=progress, file_timeout=file_timeout)
                finally:
                    store.flush()
                store.refresh()
    return failed


def _fill(
    store: Store,
    index: VideoIndex,
    rows: list[int],
    failed: list[tuple[str, str]],
    pool: Pool,
    *,
    progress: bool,
    file_timeout: float | None,
) -> list[int]:
    """Keeps the videos of some rows, and returns those that another process keeps."""
    ended, claimed = threading.Event(), []

    def one(row: int, give: Callable[[Outcome], None]) -> None:
        video = index.video(row)
        with Deadline.enter(video.path, video.bytes, file_timeout):
            give(keep(store, video, ended.is_set))

    with (
        pool.start(one, rows, name="vidssl-store", file=lambda row: index.video(row).path) as run,
        tqdm(total=len(rows), desc="store", unit="video", disable=None if progress else True) as bar,
    ):
        try:
            for parts in run.parts():
                part = parts[0]
                bar.update()
                if part.error is not None:
                    failed.append((index.name(part.item), str(part.error)))
                elif part.results == [Outcome.ENDED]:
                    return []
                elif part.results == [Outcome.CLAIMED]:
                    claimed.append(part.item)
        finally:
            ended.set()
    return claimed


@dataclass(frozen=True)
class _Wanted:
    """A video that a store lacks.

    Attributes:
        row: Its row in the index of all videos.
        index: Of this video alone.
        missing: The ranges of frames.
    """

    row: int
    index: VideoIndex
    missing: list[range]

    @property
    def file(self) -> Path:
        return self.index.video(0).path


class _Sent:
    """Stands for a store in a job: frames that are added to it are given to the process that writes."""

    def __init__(self, size: Size, give: Callable[[pa.RecordBatch], None]) -> None:
        self.size, self._give = size, give

    def size_of(self, video: Video) -> tuple[int, int]:
        return video.size if self.size == "native" else self.size

    def add(self, key: bytes, first: int, data: npt.NDArray[np.uint8]) -> bool:
        """`data` is copied, as its memory is used again."""
        self._give(pa.record_batch({"first": [first], "frames": pa.array([data.tobytes()], pa.large_binary())}))
        return True


def _decode(size: Size, file_timeout: float | None, one: _Wanted, give: Callable[[pa.RecordBatch], None]) -> None:
    """Decodes the missing frames of a video. Gives batches of one row: the number of the first frame, and the bytes."""
    video = one.index.video(0)
    with Deadline.enter(video.path, video.bytes, file_timeout):
        for part in one.missing:
            first = part.start // BLOCK * BLOCK
            keeper = Keeper(_Sent(size, give), video, b"", first)
            decode_to(KeeperSink(keeper, bool), video, np.arange(first, part.stop))
            keeper.finish()


def _fill_apart(
    store: Store,
    index: VideoIndex,
    rows: list[int],
    failed: list[tuple[str, str]],
    pool: Pool,
    *,
    progress: bool,
    file_timeout: float | None,
) -> list[int]:
    """Keeps the videos of some rows, and returns those that another process keeps."""
    claims: dict[int, Claim] = {}  # of the videos that jobs work on
    claimed: list[int] = []

    def wanted() -> Iterator[_Wanted]:
        for row in rows:
            video = index.video(row)
            claim = store.claim(store.key(video))
            if claim is not None:
                claims[row] = claim
                store.refresh()  # another process may have kept it until now
                yield _Wanted(row, index.alone(row), store.missing(video))
            elif not store.full:
                claimed.append(row)

    with (
        pool.start(
            partial(_decode, store.size, file_timeout),
            wanted(),
            name="vidssl-store",
            file=lambda one: one.file,
            ordered=True,
        ) as run,
        tqdm(total=len(rows), desc="store", unit="video", disable=None if progress else True) as bar,
    ):
        try:
            for parts in run.parts():
                for part in parts:
                    row = part.item.row
                    if not all(_add(store, index.video(row), batch) for batch in part.results):
                        return []  # the store is full
                    if part.error is not None:
                        failed.append((index.name(row), str(part.error)))
                    if part.ended:
                        claims.pop(row).end()
                        bar.update()
        finally:
            for claim in claims.values():
                claim.end()
    return claimed


def _add(store: Store, video: Video, batch: pa.RecordBatch) -> bool:
    """Writes frames that a job gave. Returns False if the store is full."""
    shape = planar_shape(1, store.size_of(video))[1:]
    frames = np.frombuffer(batch["frames"][0].as_buffer(), np.uint8).reshape(-1, *shape)
    return store.add(store.key(video), batch["first"][0].as_py(), frames)
