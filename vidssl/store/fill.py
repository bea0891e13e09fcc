"""Decodes what a store lacks of a video and, in the background, of the videos that a loader asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vidssl.deadline import Deadline, JobAbandoned
from vidssl.index.table import VideoIndex
from vidssl.kernels.decode_reduce import Reducer
from vidssl.paths import printable
from vidssl.store.shard import BLOCK
from vidssl.store.writer import Claim
from vidssl.types import VidsslError, planar_shape
from vidssl.video.decode import Planes, Sink, Video, decode_to
from vidssl.video.packets import DecodeError

log = logging.getLogger(__name__)

_CHUNK = 2**26  # bytes of frames that are written at once, and lie behind each other in a shard
_PAUSE, _BUSY = 5.0, 60.0  # seconds between two shards of a loader that has nothing, or more, to be kept
_ENDS = 10.0  # seconds in which a filler may stop


Size = tuple[int, int] | Literal["native"]


class Adds(Protocol):
    """What a Keeper needs of a FrameStore."""

    @property
    def size(self) -> Size: ...
    def size_of(self, video: Video) -> tuple[int, int]: ...
    def add(self, key: bytes, first: int, data: npt.NDArray[np.uint8]) -> bool: ...


class Store(Adds, Protocol):
    """What filling needs of a FrameStore."""

    def missing(self, video: Video) -> list[range]: ...
    def keep_motion(self, video: Video, stopped: Callable[[], bool]) -> None: ...
    def missing_of(self, index: VideoIndex) -> npt.NDArray[np.int64]: ...
    def key(self, video: Video) -> bytes: ...
    def claim(self, key: bytes) -> Claim | None: ...
    @property
    def full(self) -> bool: ...
    def flush(self) -> None: ...
    def refresh(self) -> None: ...
    def stop_keeping(self, error: OSError) -> None: ...


Lacking = Literal["frames", "motion"]  # what a store lacks of a video


class StoppedError(Exception):
    """The filling was stopped."""


class _Spare(threading.local):
    """Memory that a Keeper of this thread has used. Of new memory each page costs a fault, and is filled with zeros."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)

    def take(self, count: int) -> npt.NDArray[np.uint8]:
        """Returns at least `count` bytes, which nobody else uses."""
        memory = self.memory
        self.free()
        return memory if len(memory) >= count else np.empty(max(count, _CHUNK), np.uint8)

    def free(self) -> None:
        self.memory = np.empty(0, np.uint8)


_SPARE = _Spare()


class Keeper:
    """Takes the frames of a video in order, and writes them to the store.

    Args:
        store: The store.
        video: The video.
        key: Of the video in the store.
        first: Number of the first frame, a multiple of BLOCK.
        skip: How many frames are handed over before that one.
        claim: Ends with `finish`, `stop` or `drop`.

    Attributes:
        full: True if the store is full: further frames are not kept.
    """

    def __init__(
        self,
        store: Adds,
        video: Video,
        key: bytes,
        first: int = 0,
        *,
        skip: int = 0,
        claim: Claim | None = None,
    ) -> None:
        self._store, self._video, self._key, self._first = store, video, key, first
        self._skip, self._claim = skip, claim
        shape = planar_shape(1, store.size_of(video))[1:]
        # Frames that are written at once. Memory that is never used costs nothing.
        self._capacity = max(1, _CHUNK // (BLOCK * shape[0] * shape[1])) * BLOCK
        count = self._capacity * shape[0] * shape[1]
        self._memory: npt.NDArray[np.uint8] | None = _SPARE.take(count)
        self._chunk, self._taken = self._memory[:count].reshape(self._capacity, *shape), 0
        self._frames: Sink
        if store.size == "native":
            self._frames = Planes(video, self._capacity, lambda _: self._chunk)
        else:
            self._frames = Reducer(video, store.size, self._chunk)
        self.full = False

    def take(self, frame: VideoFrame) -> None:
        """Takes the next frame.

        Raises:
            DecodeError: The frame has another size or pixel format than the video.
        """
        if self.full:
            return
        if self._skip:
            self._skip -= 1
            return
        self._frames.store(self._taken, frame)
        self._taken += 1
        if self._taken == self._capacity:
            self._write(self._taken)

    def finish(self) -> None:
        """Writes what is left: the video ends here."""
        self._write(self._taken)
        self.drop()

    def stop(self) -> None:
        """Writes the whole blocks that were taken. No frames may follow."""
        self._write(self._taken // BLOCK * BLOCK)
        self.drop()

    def drop(self) -> None:
        """Ends the claim. What was taken and not written is not kept. After `finish` or `stop` this does nothing."""
        if self._memory is not None:
            _SPARE.memory, self._memory = self._memory, None
        if self._claim is not None:
            self._claim.end()

    def _write(self, count: int) -> None:
        """Writes the first `count` frames of the chunk, and begins a new one."""
        if count and not self.full:
            self.full = not self._store.add(self._key, self._first, self._chunk[:count])
        self._first, self._taken = self._first + count, 0


class KeeperSink:
    """A Keeper as a sink of `decode_to`, which hands over the frames in order."""

    def __init__(self, keeper: Keeper, stopped: Callable[[], bool]) -> None:
        self._keeper, self._stopped, self._next = keeper, stopped, 0

    def store(self, slot: int, frame: VideoFrame) -> None:
        if self._stopped() or self._keeper.full:
            raise StoppedError
        if slot != self._next:
            raise DecodeError(f"frame {slot} came in the place of frame {self._next}, so the video is not kept")
        self._next += 1
        self._keeper.take(frame)


class Outcome(Enum):
    """What became of a video that was to be kept."""

    KEPT = "kept"  # all of it
    CLAIMED = "claimed"  # another thread or process keeps it now
    ENDED = "ended"  # the store is full, or `stopped` ended the work


def keep(store: Store, video: Video, stopped: Callable[[], bool] = bool) -> Outcome:
    """Decodes and keeps the frames of a video that the store lacks. If it is stopped, whole blocks are kept.

    Raises:
        DecodeError: The video cannot be decoded.
        JobAbandoned: The deadline of this thread was abandoned.
    """
    key = store.key(video)
    claim = store.claim(key)
    if claim is None:
        return Outcome.ENDED if store.full else Outcome.CLAIMED
    with claim:
        store.refresh()  # another process may have kept it until now
        for part in store.missing(video):
            first = part.start // BLOCK * BLOCK
            keeper = Keeper(store, video, key, first)
            try:
                decode_to(KeeperSink(keeper, stopped), video, np.arange(first, part.stop))
            except StoppedError:
                keeper.stop()
                return Outcome.ENDED
            except JobAbandoned:
                keeper.stop()
                raise
            keeper.finish()
            if keeper.full:
                return Outcome.ENDED
    return Outcome.KEPT


class Filler:
    """Keeps, in the background, frames and motion of the videos that a loader asks for and that the store lacks.

    One daemon thread decodes one video after the other. It stops between two frames. It also opens the shards that
    other processes completed.

    Args:
        store: The store.
        index: The videos.
        file_timeout: Time limit of a file in seconds, as in `VideoIndex.build`.
    """

    def __init__(self, store: Store, index: VideoIndex, *, file_timeout: float | None = None) -> None:
        self._store, self._index, self._file_timeout = store, index, file_timeout
        self._queue: SimpleQueue[tuple[int, Lacking] | None] = SimpleQueue()
        self._asked: set[tuple[int, Lacking]] = set()  # rows that wait, or that cannot be decoded
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="vidssl-store", daemon=True)
        self._thread.start()

    def ask(self, row: int, what: Lacking) -> None:
        """Keeps frames or motion of the video of a row later. Returns at once."""
        if (row, what) not in self._asked and not self._store.full:
            self._asked.add((row, what))
            self._queue.put((row, what))

    def close(self) -> None:
        """Stops, and completes the shard in progress. What is kept of a video stays; the rest follows another time."""
        self._ended.set()
        self._queue.put(None)
        deadline = Deadline.of(self._thread.ident or 0)
        if deadline is not None:  # it may decode many frames before the first one that is kept
            deadline.abandon()
        self._thread.join(_ENDS)  # a thread that hangs in a file is a daemon, and is left

    def _work(self) -> None:
        flushed = monotonic()
        while not self._ended.is_set():
            try:
                asked = self._queue.get(timeout=1.0)
            except Empty:
                asked = None
            if asked is None:
                _SPARE.free()
            else:
                self._keep(*asked)
            if monotonic() - flushed > (_PAUSE if asked is None else _BUSY):
                self._flush()
                flushed = monotonic()
        self._flush()

    def _keep(self, row: int, what: Lacking) -> None:
        try:
            video = self._index.video(row)
            with Deadline.enter(video.path, video.bytes, self._file_timeout):
                if what == "frames":
                    keep(self._store, video, self._ended.is_set)
                else:
                    self._store.keep_motion(video, self._ended.is_set)
        except JobAbandoned:  # by `close`
            return
        except VidsslError as error:  # the loader meets the same error, and counts the video as corrupt
            log.debug("store: %s", printable(error))
            return
        except OSError as error:
            self._store.stop_keeping(error)
            return
        if what == "frames":  # another process keeps them, or some were damaged; motion can be measured now
            self._asked -= {(row, "frames"), (row, "motion")}

    def _flush(self) -> None:
        self._store.flush()
        self._store.refresh()
