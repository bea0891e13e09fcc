"""Writes frames to the folder of a store: one shard at a time, as long as there is room."""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidssl.paths import printable, readable
from vidssl.store.claims import Claims
from vidssl.store.shard import BLOCK, ENDING, SCORES, ShardWriter, max_shards, shard_paths

log = logging.getLogger(__name__)

SHARD = 2**28  # bytes of frames after which a shard is complete
_RESERVE = 2**30  # bytes of a disk that stay free, for checkpoints and logs; less on a small disk
_UNFINISHED = re.compile(
    rf"\.([0-9a-f]{{16}}(?:{re.escape(ENDING)}|{re.escape(SCORES)}))\.\d+\.partial"
)  # as vidssl.paths names it


class Claim:
    """The right of a thread to keep a video. A context manager.

    It ends when the block ends and the frames that were kept in it can be read by all processes, or when its process
    ends.
    """

    def __init__(self, end: Callable[[bytes], None], key: bytes) -> None:
        self.end = weakref.finalize(self, end, key)  # also if whoever has it forgets it
        self.end.atexit = False

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class StoreWriter:
    """Writes the shards of this process. All methods may be called from several threads.

    Args:
        folder: Folder of the store.
        size_text: Size of the frames, which is noted in each shard.
        limit: Most bytes that the folder may hold. None: no limit.
        shard_bytes: Returns the bytes of all shards.
        completed: Called when a shard is complete.
        stats: Counts, to which `kept` is added.
        ending: Of the names of the shards.
        remedy: What is done about all that is not kept.

    Attributes:
        full: True if nothing more is kept: there is no room, or the folder cannot be written.
        failure: Why nothing more is kept; "" unless `full`, and if only the limit is reached.
    """

    def __init__(
        self,
        folder: Path,
        size_text: str,
        limit: int | None,
        *,
        shard_bytes: Callable[[], int],
        completed: Callable[[], None],
        stats: Counter[str],
        ending: str = ENDING,
        remedy: str = "all other frames are decoded each time",
    ) -> None:
        self._folder, self._size_text, self._limit = folder, size_text, limit
        self._ending, self._remedy = ending, remedy
        self._shard_bytes, self._completed, self._stats = shard_bytes, completed, stats
        self._claims = Claims(folder)
        self._lock = threading.RLock()
        self._shard: ShardWriter | None = None
        self._ended: list[bytes] = []  # videos whose frames are in the shard in progress, and to which nothing is added
        self._tidied = False
        self.failure = ""
        self.full = limit == 0  # to keep nothing was asked for

    def claim(self, key: bytes) -> Claim | None:
        """Claims a video. Returns None if another thread or process keeps it now, or if nothing more is kept."""
        with self._lock:
            if self.full:
                return None
            if not self._tidied:
                self.tidy()
            try:
                return Claim(self._end, key) if self._claims.take(key) else None
            except OSError as error:
                self._stop(self._why(error))
                return None

    def tidy(self) -> None:
        """Deletes what processes left that ended early, if the folder can be written to."""
        self._tidied = True
        with suppress(OSError):
            delete_unfinished(self._folder)

    def _end(self, key: bytes) -> None:
        with self._lock:
            if self._shard is None:
                self._claims.release(key)
            else:
                self._ended.append(key)

    def add(self, key: bytes, first: int, data: npt.NDArray[np.uint8]) -> bool:
        """Implements `FrameStore.add`."""
        with self._lock:
            if self.full:
                return False
            try:
                fits = self._that_fits(data)
                if len(fits):
                    if self._shard is None:
                        self._shard = self._begin()
                    self._shard.add(key, first, fits)
                    self._stats["kept"] += len(fits)
                    if self._shard.bytes >= SHARD:
                        self._complete()
                if len(fits) < len(data):
                    self._stop_without_room(data.nbytes)
                    self._complete()  # what is kept can be read at once
            except OSError as error:
                self.fail(error)
            return not self.full

    def flush(self) -> None:
        """Completes the shard in progress, so that its frames can be read."""
        with self._lock:
            try:
                self._complete()
            except OSError as error:
                self.fail(error)

    def free_bytes(self) -> int:
        """Bytes that may still be written: what the limit leaves, and what the disk has."""
        free = room_on_disk(self._folder)
        if self._limit is not None:
            free = min(free, self._limit - self._shard_bytes() - unfinished_bytes(self._folder))
        return max(0, free)

    def _begin(self) -> ShardWriter:
        count = len(shard_paths(self._folder, (ENDING, SCORES))) + 1
        if max_shards(count) < count:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        name = f"{secrets.token_hex(8)}{self._ending}"
        self._claims.take(name.encode())  # as long as it is held, its writer lives
        return ShardWriter(self._folder / name, self._size_text)

    def _complete(self) -> None:
        shard = self._shard
        if shard is None:
            return
        shard.close()
        self._completed()
        self._leave(shard)

    def fail(self, error: OSError) -> None:
        """Gives up the shard in progress, and all further frames. Only the first call warns."""
        with self._lock:
            if (shard := self._shard) is not None:
                shard.discard()
                self._stats["kept"] -= shard.frames
                self._leave(shard)
            self._stop(self._why(error))

    def _leave(self, shard: ShardWriter) -> None:
        self._shard = None
        for name in (shard.path.name.encode(), *self._ended):
            self._claims.release(name)
        self._ended.clear()

    def _stop(self, reason: str, *, limited: bool = False) -> None:
        if not self.full:
            self.full, self.failure = True, "" if limited else reason
            log.warning("store %s: %s; %s", printable(self._folder), reason, self._remedy)

    def _that_fits(self, data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The frames of `data` for which there is room: all of them, or whole blocks."""
        free = self.free_bytes()
        return data if data.nbytes <= free else data[: free // (data.nbytes // len(data)) // BLOCK * BLOCK]

    def _stop_without_room(self, count: int) -> None:
        """Gives up all further frames, as `count` bytes do not fit into the limit or on the disk."""
        free = shutil.disk_usage(self._folder).free
        if self._limit is not None and count <= free - _RESERVE:
            self._stop(f"the limit of {readable(self._limit)} is reached; raise it to keep more", limited=True)
        else:
            self._stop(
                f"its disk is full ({readable(free)} are free, and some stays free for checkpoints and logs); free "
                "some space, or name a folder on another disk"
            )

    def _why(self, error: OSError) -> str:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = readable(shutil.disk_usage(self._folder).free)
            return f"its disk is full ({reason}; {free} are free); free some space, or name a folder on another disk"
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"it can be read but not written ({reason}); name a folder that you may write to, to keep more"
        if error.errno == errno.ENOENT:
            return f"its folder is gone ({reason}); start again to keep more"
        if error.errno == errno.EFBIG:
            return f"its files may not grow ({reason}); raise the limit of the shell with `ulimit -f`"
        if error.errno == errno.EMFILE:
            return f"it has as many shards as this process may open ({reason}); raise `ulimit -Hn`"
        return f"it cannot be written ({reason}); name another folder"


def room_on_disk(folder: Path) -> int:
    """Bytes of frames that fit on the disk of a folder; may be below 0."""
    disk = shutil.disk_usage(folder)
    return disk.free - min(_RESERVE, disk.total // 20)


def unfinished(folder: Path) -> list[Path]:
    """The files of shards that are being written, or that a process left which ended early."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name))
    return []


def unfinished_bytes(folder: Path) -> int:
    """Bytes of the files that `unfinished` lists."""
    total = 0
    for path in unfinished(folder):
        with suppress(OSError):  # it has just been completed
            total += path.stat().st_size
    return total


def abandoned(folder: Path) -> Iterator[Path]:
    """Yields the unfinished files that nobody writes any more; each may be deleted until the next one is taken.

    Raises:
        OSError: The folder cannot be written to.
    """
    claims = Claims(folder)
    for path in unfinished(folder):
        found = _UNFINISHED.fullmatch(path.name)
        name = found.group(1).encode() if found is not None else b""
        if claims.take(name):
            try:
                if claims.certain:
                    yield path
            finally:
                claims.release(name)


def delete_unfinished(folder: Path) -> int:
    """Deletes what processes left that ended early. Returns the number of bytes.

    Raises:
        OSError: The folder cannot be written to.
    """
    count = 0
    for path in abandoned(folder):
        with suppress(FileNotFoundError):
            size = path.lstat().st_size
            path.unlink()
            count += size
    if count:
        log.info("store %s: deleted %s that a process left which ended early", printable(folder), readable(count))
    return count
