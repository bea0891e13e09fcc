"""file: kept frames are read from shards that are mapped into memory.

All processes and ranks of a node share the pages of a shard, and the system reads them from the disk at first touch.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.index.checksums import ChangedError
from vidssl.paths import printable
from vidssl.store.shard import ENDING, Run, Shard, max_shards, shard_paths
from vidssl.types import VidsslError

log = logging.getLogger(__name__)


class _Kept(NamedTuple):
    shard: Shard
    run: Run


class FileBackend:
    """The shards of a folder.

    Args:
        folder: The folder. None has no shards.
        stats: Counts, to which `damaged` is added for each shard or block that is dropped.
        ending: Of the names of the shards.
        remedy: What is done where a shard or block is dropped.

    Attributes:
        shards: Those that are open. Further ones are appended.
    """

    def __init__(
        self,
        folder: Path | None,
        stats: Counter[str],
        ending: str = ENDING,
        remedy: str = "its frames are decoded again",
    ) -> None:
        self._folder, self._stats, self._ending, self._remedy = folder, stats, ending, remedy
        self.shards: list[Shard] = []
        self._lock = threading.RLock()
        self._kept: dict[bytes, list[_Kept]] = {}
        self._names: set[str] = set()
        self._named: set[Path] = set()  # shards with damage that a warning has named
        self._shard_bytes = 0
        self._crowded = False  # some shards are not open, as too many files would be

    @property
    def shard_bytes(self) -> int:
        return self._shard_bytes

    def refresh(self) -> None:
        if self._folder is None:
            return
        with self._lock:
            fresh = [path for path in shard_paths(self._folder, self._ending) if path.name not in self._names]
            count = len(self._names) + len(fresh)
            room = max_shards(count)
            for path in fresh[: max(0, room - len(self._names))]:
                self._names.add(path.name)
                self._open(path)
            if room < count and not self._crowded:
                self._crowded = True
                log.warning(
                    "store %s: this process may open files for %d of its %d shards; the frames of the others are "
                    "decoded each time; raise `ulimit -Hn`",
                    printable(self._folder),
                    room,
                    count,
                )

    def _open(self, path: Path) -> None:
        try:
            shard = Shard(path)
        except (VidsslError, OSError) as error:
            if not os.path.lexists(path):  # deleted since it was listed
                return
            self._stats["damaged"] += 1
            log.warning("store: %s; %s", printable(error), self._remedy)
            return
        self._shard_bytes += shard.bytes
        for run in shard.runs():
            self._kept.setdefault(run.key, []).append(_Kept(shard, run))
        self.shards.append(shard)

    def missing(self, key: bytes, frames: int) -> list[range]:
        runs = sorted((kept.run.first, kept.run.first + kept.run.frames) for kept in self._kept.get(key, []))
        out, at = [], 0
        for first, end in runs:
            stop = min(first, frames)  # a shard may hold more frames than the index knows
            if stop > at:
                out.append(range(at, stop))
            at = max(at, end)
        return [*out, range(at, frames)] if at < frames else out

    def read(self, key: bytes, first: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
        count, lines, cols = shape
        while (parts := _cover(self._kept.get(key, []), first, count)) is not None:
            found = []
            for kept, at, length in parts:
                try:
                    found.append(kept.shard.read(kept.run, at, (length, lines, cols)))
                except VidsslError as error:
                    self._drop(kept, error)
                    break
            else:
                return found[0] if len(found) == 1 else np.concatenate(found)
        return None

    def _drop(self, damaged: _Kept, error: VidsslError) -> None:
        """Forgets a run in which a block is damaged; all runs of a shard that was changed in place."""
        with self._lock:
            runs = self._kept.get(damaged.run.key, [])
            if damaged not in runs:
                return  # another thread noticed it first
            shard = damaged.shard
            if isinstance(error, ChangedError):  # nothing of it may be read, not even its keys
                for key, kept in list(self._kept.items()):
                    self._kept[key] = [one for one in kept if one.shard is not shard]
            else:
                self._kept[damaged.run.key] = [one for one in runs if one != damaged]
            self._stats["damaged"] += 1
            first = shard.path not in self._named
            self._named.add(shard.path)
        log.log(logging.WARNING if first else logging.DEBUG, "store: %s; %s", printable(error), self._remedy)


def _cover(kept: list[_Kept], first: int, count: int) -> list[tuple[_Kept, int, int]] | None:
    """Parts (run, first frame, number of frames) that make up frames [first, first + count); None if some are missing.

    One run that holds all of them is preferred: it is read without a copy.
    """
    parts: list[tuple[_Kept, int, int]] = []
    at, end = first, first + count
    while at < end:
        best = max(
            (one for one in kept if one.run.first <= at < one.run.first + one.run.frames),
            key=lambda one: one.run.first + one.run.frames,
            default=None,
        )
        if best is None:
            return None
        length = min(end, best.run.first + best.run.frames) - at
        parts.append((best, at, length))
        at += length
    return parts
