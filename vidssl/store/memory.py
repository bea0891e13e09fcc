"""memory: the shards of the file backend, read once and locked in memory.

The pages are those of the file, so all processes and ranks of a machine share one copy, nothing is written, and nothing
stays behind when a process is killed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidssl.memory import available_bytes, lock, lock_refusal, locked_bytes, resident_bytes
from vidssl.paths import readable
from vidssl.store.file import FileBackend
from vidssl.store.shard import Shard

log = logging.getLogger(__name__)


class MemoryBackend:
    """Reads frames from shards that it locks in memory, in a thread of its own.

    It begins at the first `refresh`. A shard that cannot be locked is read as the file backend reads it, and a warning
    says why.

    Args:
        file: The shards.
        size_text: Size of the frames; shards of frames of other sizes are not locked.

    Attributes:
        locked: Bytes that are locked so far.
    """

    def __init__(self, file: FileBackend, size_text: str) -> None:
        self._file, self._size_text = file, size_text
        self._lock = threading.Lock()
        self._taken = 0  # shards of `file` that were given to a thread
        self._refused = False
        self.locked = 0

    def refusal(self, need: int | None, part: float) -> str:
        """Returns why frames cannot be locked in memory; "" if they can.

        Args:
            need: Bytes of all frames. None: those of the shards that are kept already.
            part: Fraction of the available memory that they may take.
        """
        pages = [shard.pages for shard in self._file.shards if self._wants(shard)]
        need = sum(one.nbytes for one in pages) if need is None else need
        # What another process has locked takes no further memory.
        held = min(sum(map(resident_bytes, pages)), locked_bytes())
        free = available_bytes()
        if need - held > part * free:
            most = f"{part:.0%} of the {readable(free)} of memory" if part < 1 else f"the {readable(free)} of memory"
            return f"{readable(need)} of frames are more than {most} that are available"
        reason = lock_refusal(need)
        return f"{readable(need)} of frames cannot be locked in memory: {reason}" if reason else ""

    @property
    def shard_bytes(self) -> int:
        return self._file.shard_bytes

    def refresh(self) -> None:
        self._file.refresh()
        self._take_new()

    def missing(self, key: bytes, frames: int) -> list[range]:
        return self._file.missing(key, frames)

    def read(self, key: bytes, first: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
        return self._file.read(key, first, shape)

    def _wants(self, shard: Shard) -> bool:
        return shard.size_text in (self._size_text, "")

    def _take_new(self) -> None:
        with self._lock:
            new = self._file.shards[self._taken :]
            self._taken += len(new)
        if new:
            threading.Thread(target=self._hold, args=(new,), name="vidssl-memory", daemon=True).start()

    def _hold(self, shards: Sequence[Shard]) -> None:
        for shard in filter(self._wants, shards):
            reason = lock(shard.pages) if not self._refused else ""
            if reason:
                self._refused = True
                log.warning("store: %s is not locked in memory (%s), nor are later ones", shard.path, reason)
            if self._refused:
                return
            with self._lock:
                self.locked += shard.pages.nbytes
