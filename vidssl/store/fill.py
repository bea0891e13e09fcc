"""Decodes what a store lacks: all of an index at once, or in the background what a loader asked for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from tqdm import tqdm

from vidssl.deadline import Deadline, check_timeout
from vidssl.index.table import VideoIndex
from vidssl.kernels.reduce import reduce, reduced_shape
from vidssl.paths import printable
from vidssl.store.shard import BLOCK
from vidssl.types import Frames, VidsslError
from vidssl.video.decode import Planes, Video, decode_to
from vidssl.workers import Workers

log = logging.getLogger(__name__)

_CHUNK = 2**26  # bytes of frames that are written at once, and lie behind each other in a shard
_PAUSE = 10.0  # seconds between two shards that are completed because nothing else is to be done


class Store(Protocol):
    """What filling needs of a FrameStore."""

    @property
    def size(self) -> tuple[int, int] | Literal["native"]: ...
    def size_of(self, video: Video) -> tuple[int, int]: ...
    def missing(self, video: Video) -> list[range]: ...
    def add(self, video: Video, first: int, data: npt.NDArray[np.uint8]) -> bool: ...
    def flush(self) -> None: ...


class StoppedError(Exception):
    """The filling was stopped."""


@dataclass
class _Chunk:
    """Consecutive blocks that are written at once."""

    data: npt.NDArray[np.uint8]
    left: int  # frames to come


@dataclass
class Keeper:
    """Takes the frames of a video, in any order, and writes them to the store.

    Args:
        store: The store.
        video: The video.
        first: Number of the first frame, a multiple of BLOCK.
        count: Number of frames that follow.
        stopped: Called before each frame; True ends the decoding with StoppedError.
    """

    store: Store
    video: Video
    first: int
    count: int
    stopped: Callable[[], bool] = bool
    _blocks: dict[int, tuple[Planes, int]] = field(default_factory=dict)
    _chunks: dict[int, _Chunk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _, lines, cols = reduced_shape(1, self.store.size_of(self.video))
        self._lines, self._cols = lines, cols
        self._per_chunk = max(1, _CHUNK // (BLOCK * lines * cols)) * BLOCK

    def store_frame(self, slot: int, frame: VideoFrame) -> None:
        """Takes the frame of number `first + slot`."""
        if self.stopped():
            raise StoppedError
        block, at = divmod(slot, BLOCK)
        size = min(BLOCK, self.count - block * BLOCK)
        planes, left = self._blocks.pop(block) if block in self._blocks else (Planes(self.video, size), size)
        planes.store(at, frame)
        if left > 1:
            self._blocks[block] = planes, left - 1
        else:
            self._complete(block * BLOCK, planes.data)

    def _complete(self, begin: int, data: npt.NDArray[np.uint8]) -> None:
        number, at = divmod(begin, self._per_chunk)
        size = min(self._per_chunk, self.count - number * self._per_chunk)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = _Chunk(np.empty((size, self._lines, self._cols), np.uint8), size)
        target = chunk.data[at : at + len(data)]
        if self.store.size == "native":
            target[:] = data
        else:
            frames = Frames(data=data, number=np.arange(len(data)), size=self.video.size, space=self.video.space)
            reduce(frames, self.store.size, out=target)
        chunk.left -= len(data)
        if chunk.left == 0:
            del self._chunks[number]
            if not self.store.add(self.video, self.first + number * self._per_chunk, chunk.data):
                raise StoppedError


class _Sink:
    """A Keeper as a sink of `decode_to`."""

    def __init__(self, keeper: Keeper) -> None:
        self.store = keeper.store_frame


def keep(store: Store, video: Video, stopped: Callable[[], bool] = bool) -> bool:
    """Decodes and keeps the frames of a video that the store lacks.

    Returns:
        False if the store is full, or if `stopped` ended the work.

    Raises:
        DecodeError: The video cannot be decoded.
    """
    for part in store.missing(video):
        first = part.start // BLOCK * BLOCK
        numbers = np.arange(first, part.stop)
        try:
            decode_to(_Sink(Keeper(store, video, first, len(numbers), stopped)), video, numbers)
        except StoppedError:
            return False
    return True


def fill(
    store: Store, index: VideoIndex, *, workers: int | None, progress: bool, file_timeout: float | None
) -> list[tuple[str, str]]:
    """Implements `FrameStore.fill`."""
    check_timeout("FrameStore.fill", file_timeout)
    if workers is not None and workers < 1:
        raise VidsslError(f"FrameStore.fill: workers={workers}: take at least 1, or None for one per processor")
    failed: list[tuple[str, str]] = []
    ended = threading.Event()

    def one(row: int) -> bool:
        video = index.video(row)
        with Deadline.enter(video.path, video.bytes, file_timeout):
            return keep(store, video, ended.is_set)

    with Workers(workers or len(os.sched_getaffinity(0)), "vidssl-store") as pool:
        try:
            jobs = {pool.submit(one, int(row)): int(row) for row in index.usable()}
            for job in tqdm(
                as_completed(jobs), total=len(jobs), desc="store", unit="video", disable=None if progress else True
            ):
                try:
                    if not job.result():
                        break
                except VidsslError as error:
                    failed.append((index.name(jobs[job]), str(error)))
        finally:
            ended.set()
            store.flush()
    return failed


class Filler:
    """Keeps, in the background, the videos that a loader asks for and that the store lacks.

    One daemon thread decodes one video after the other. It stops between two frames.

    Args:
        store: The store.
        index: The videos.
        file_timeout: Time limit of a file in seconds, as in `VideoIndex.build`.
    """

    def __init__(self, store: Store, index: VideoIndex, file_timeout: float | None = None) -> None:
        self._store, self._index, self._file_timeout = store, index, file_timeout
        self._rows: SimpleQueue[int | None] = SimpleQueue()
        self._asked: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="vidssl-store", daemon=True)
        self._thread.start()

    def ask(self, row: int) -> None:
        """Keeps the video of a row later. Returns at once."""
        if row not in self._asked:
            self._asked.add(row)
            self._rows.put(row)

    def close(self) -> None:
        """Stops, and completes the shard in progress."""
        self._ended.set()
        self._rows.put(None)
        self._thread.join()
        self._store.flush()

    def _work(self) -> None:
        flushed = monotonic()
        while not self._ended.is_set():
            try:
                row = self._rows.get(timeout=1.0)
            except Empty:
                if monotonic() - flushed > _PAUSE:
                    self._flush()
                    flushed = monotonic()
                continue
            if row is None or not self._keep(row):
                break
        self._flush()

    def _keep(self, row: int) -> bool:
        try:
            video = self._index.video(row)
            with Deadline.enter(video.path, video.bytes, self._file_timeout):
                return keep(self._store, video, self._ended.is_set)
        except VidsslError as error:  # the loader meets the same error, and counts the video as corrupt
            log.debug("store: %s", printable(error))
            return True

    def _flush(self) -> None:
        try:
            self._store.flush()
        except OSError as error:
            log.warning("store: %s; the frames are decoded again", printable(error))
