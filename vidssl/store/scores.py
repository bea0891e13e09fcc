"""Scores: the motion of kept frames, kept beside them, so that a plan that needs motion reads only what it shows.

They lie in shards of their own, which nobody meets who looks for frames. They take 1.3 % of the bytes of frames of
240 x 320, and 1.8 % at 128 x 171.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vidssl.kernels.motion import CELL, Motion, motion
from vidssl.store.file import FileBackend
from vidssl.store.shard import BLOCK, SCORES
from vidssl.store.writer import StoreWriter
from vidssl.types import Frames

_VERSION = 1  # of the kernel: scores of another one are not found
_PIECE = 16 * BLOCK  # frames that are measured and written at once


class Scores:
    """The motion of videos whose frames a store has.

    A frame has its change from the frame before it (frame 0: nothing), and its thumbnail.

    Args:
        folder: Folder of the store.
        size_text: Size of the frames, which is noted in each shard.
        limit: Most bytes that the folder may hold. None: no limit.
        used: Returns the bytes of all shards of the store.
        stats: Counts, to which `damaged` is added for each shard or block that is dropped.
    """

    def __init__(
        self, folder: Path, size_text: str, limit: int | None, *, used: Callable[[], int], stats: Counter[str]
    ) -> None:
        remedy = "motion is measured each time"
        self._shards = FileBackend(folder, stats, SCORES, remedy)
        self._writer = StoreWriter(
            folder,
            size_text,
            limit,
            shard_bytes=used,
            completed=self.refresh,
            stats=Counter(),
            ending=SCORES,
            remedy=f"where it is not kept, {remedy}",
        )

    @property
    def shard_bytes(self) -> int:
        """Bytes of all shards of scores."""
        return self._shards.shard_bytes

    def refresh(self) -> None:
        """Opens the shards that other processes completed since the last call."""
        self._shards.refresh()

    def read(self, key: bytes, first: int, count: int, size: tuple[int, int]) -> Motion | None:
        """Returns `motion` of frames first, first + 1, ... of a video: read-only, without a copy if they lie together.

        Args:
            key: Of the video.
            first: Number of the first frame.
            count: Number of frames.
            size: (height, width) of the frames in pixels.
        """
        height, width = (-(-side // CELL) for side in size)
        sad = self._shards.read(_key(key, "sad"), first, (count, height, width * 4))
        thumb = self._shards.read(_key(key, "thumb"), first, (count, CELL, CELL))
        return None if sad is None or thumb is None else Motion(sad[1:].view(np.uint32), thumb)

    def keep(
        self, key: bytes, frames: int, read: Callable[[int, int], Frames | None], stopped: Callable[[], bool]
    ) -> None:
        """Measures and keeps what is missing of a video.

        Args:
            key: Of the video.
            frames: Number of its frames.
            read: Returns kept frames (first, count); None if not all of them are kept: then the rest is left out.
            stopped: Ends the work if it returns True.
        """
        claim = self._writer.claim(_key(key, "sad"))
        if claim is None:
            return
        with claim:
            self.refresh()  # another process may have kept it until now
            for part in self._shards.missing(_key(key, "thumb"), frames):
                for first in range(part.start // BLOCK * BLOCK, part.stop, _PIECE):
                    before = 1 if first else 0
                    shown = read(first - before, min(first + _PIECE, part.stop) - first + before)
                    if shown is None or stopped() or not self._add(key, first, motion(shown), before):
                        return

    def flush(self) -> None:
        """Completes the shard in progress, so that its scores can be read."""
        self._writer.flush()

    def _add(self, key: bytes, first: int, score: Motion, before: int) -> bool:
        """before: number of frames in `score` that come before frame `first`. Returns False if it is not kept."""
        sad = score.sad if before else np.concatenate([np.zeros((1, *score.sad.shape[1:]), np.uint32), score.sad])
        kept = self._writer.add(_key(key, "sad"), first, sad.view(np.uint8))
        return kept and self._writer.add(_key(key, "thumb"), first, score.thumb[before:])


def keys_of_scores(key: bytes) -> tuple[bytes, ...]:
    """The keys of the motion of the video with this key."""
    return _key(key, "sad"), _key(key, "thumb")


def _key(video: bytes, what: str) -> bytes:
    return hashlib.blake2b(video + f"{what} {_VERSION}".encode(), digest_size=16).digest()
