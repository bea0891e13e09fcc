"""window: which frames of which video the place `position` of an epoch shows. A pure function of (seed, epoch,
position).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vidssl.native import kernels
from vidssl.types import VidsslError, Window

_NO_EPOCH = 0  # evaluation shows the same windows in every epoch


def _random(seed: int, epoch: int, first: int, count: int, purpose: str, index: int = 0) -> npt.NDArray[np.uint64]:
    """uint64 [count]: the Philox draws of samples first, first + 1, ... (csrc/kernels/philox.h)."""
    bits = np.empty((count, 4), dtype=np.uint32)
    kernels.random(bits, seed, epoch, first, purpose, index)
    return bits[:, 0].astype(np.uint64) | bits[:, 1].astype(np.uint64) << np.uint64(32)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 .. count - 1: each number gets a random key, and the keys are sorted."""
    return np.argsort(_random(seed, epoch, 0, count, "order"), kind="stable")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """Windows of `span` frames, or the whole of each video; an epoch shows `tuples` tuples of one window of every
    video.

    rows: int64 [N] rows of the index, each of a video with at least span frames; frames: int64 [N] their numbers of
    frames.
    train: videos shuffled, first frame random; else videos in order, the window in the middle, the same in every epoch.
    """

    rows: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    span: int
    seed: int
    train: bool
    tuples: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise VidsslError(f"seed={self.seed}: take 0 <= seed < 2**63")

    def __len__(self) -> int:
        """Positions an epoch."""
        return len(self.rows) * self.tuples

    def draw_epoch(self, epoch: int) -> int:
        """The epoch that random draws see."""
        return epoch if self.train else _NO_EPOCH

    def draw_sample(self, position: int, video: int) -> int:
        """The sample number that a plan's draws see: in evaluation it stays with the video."""
        return position if self.train else video * self.tuples + position % self.tuples

    def window(self, epoch: int, position: int, attempt: int = 0) -> Window:
        """The window at `position` of `epoch`; attempt > 0: the one in its stead when the windows of the attempts
        before are bad.
        """
        place = position // self.tuples
        at = (place + attempt) % len(self.rows)
        if self.train:
            at = int(_order(self.seed, epoch, len(self.rows))[at])
        span = int(self.frames[at]) if self.whole else self.span
        room = int(self.frames[at]) - span
        first = (
            int(_random(self.seed, epoch, place, 1, "window", attempt)[0]) * (room + 1) >> 64
            if self.train
            else room // 2
        )
        return Window(position, int(self.rows[at]), first, span)
