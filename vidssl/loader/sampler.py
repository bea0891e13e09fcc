"""Which positions a batch holds, and which frames of which video a position shows.

A window is a pure function of (seed, epoch, position).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import Spec
from vidssl.native import kernels
from vidssl.types import VidsslError, Window

_NO_EPOCH = 0  # evaluation shows the same windows in every epoch


def _random(seed: int, epoch: int, first: int, count: int, purpose: str, index: int = 0) -> npt.NDArray[np.uint64]:
    """Returns uint64 [count]: the Philox draws of samples first, first + 1, ... (csrc/kernels/philox.h)."""
    bits = np.empty((count, 4), dtype=np.uint32)
    kernels.random(bits, seed, epoch, first, purpose, index)
    return bits[:, 0].astype(np.uint64) | bits[:, 1].astype(np.uint64) << np.uint64(32)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of 0 .. count - 1: each number gets a random key, and the keys are sorted."""
    return np.argsort(_random(seed, epoch, 0, count, "order"), kind="stable")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """Chooses the window of each position. An epoch shows one window of every video.

    Args:
        rows: int64 [N], rows of the index; each video has at least `span` frames.
        frames: int64 [N], number of frames of each of these videos.
        span: Frames of a window.
        seed: Seed of the order of videos and of the first frames, 0 <= seed < 2**63.
        train: True shuffles the videos and draws the first frame. False shows the videos in order, each with its middle
            window, the same in every epoch.
        tuples: Tuples per window; they have consecutive positions.
        whole: A window is the whole video instead of `span` frames.
        motion: Returns the change from each frame of a row to the next, uint16 [frames - 1]. Training then draws the
            first frame in proportion to the change within the window. None draws it evenly.
    """

    rows: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    span: int
    seed: int
    train: bool
    tuples: int = 1
    whole: bool = False
    motion: Callable[[int], npt.NDArray[np.uint16]] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise VidsslError(f"seed={self.seed}: take 0 <= seed < 2**63")

    @classmethod
    def of(cls, index: VideoIndex, spec: Spec, *, seed: int, train: bool, tuples: int) -> Sampler:
        """Returns the sampler of the videos of `index` that are long enough for `spec`.

        Raises:
            VidsslError: No video is long enough.
        """
        rows = index.usable(spec.frames)
        if not len(rows):
            some = "; ".join(f"{path}: {reason}" for path, reason in index.skipped(spec.frames)[:3])
            why = f"for instance {some}" if some else "the index is empty"
            raise VidsslError(
                f"index: none of its {len(index)} videos has the {spec.frames} frames that a window needs; {why}"
            )
        frames = np.array([index.frames(int(row)) for row in rows], dtype=np.int64)
        whole = spec.window == "video"
        motion = index.motion if spec.windows == "motion" else None
        return cls(
            rows=rows,
            frames=frames,
            span=spec.frames,
            seed=seed,
            train=train,
            tuples=tuples,
            whole=whole,
            motion=motion,
        )

    def __len__(self) -> int:
        """Positions per epoch."""
        return len(self.rows) * self.tuples

    def draw_epoch(self, epoch: int) -> int:
        """Returns the epoch that random draws see."""
        return epoch if self.train else _NO_EPOCH

    def draw_sample(self, position: int, video: int) -> int:
        """Returns the sample number that a plan's draws see. In evaluation it depends on the video alone."""
        return position if self.train else video * self.tuples + position % self.tuples

    def samples(self, window: Window) -> tuple[int, ...]:
        """Returns the sample number of each tuple of a window."""
        tuples = range(window.position, window.position + self.tuples)
        return tuple(self.draw_sample(position, window.video) for position in tuples)

    def window(self, epoch: int, position: int, attempt: int = 0) -> Window:
        """Returns the window at `position` of `epoch`.

        attempt: 0, or the number of videos before it that are corrupt: the window is then of a later video.
        """
        number = position // self.tuples
        at = (number + attempt) % len(self.rows)
        if self.train:
            at = int(_order(self.seed, epoch, len(self.rows))[at])
        span = int(self.frames[at]) if self.whole else self.span
        last = int(self.frames[at]) - span  # the last frame that a window can begin with
        first = last // 2
        if self.train:
            chosen = self._first_by_motion(epoch, number, attempt, int(self.rows[at]))
            if chosen is None:
                chosen = int(_random(self.seed, epoch, number, 1, "window", attempt)[0]) * (last + 1) >> 64
            first = chosen
        return Window(position, int(self.rows[at]), first, span)

    def _first_by_motion(self, epoch: int, number: int, attempt: int, row: int) -> int | None:
        """Draws the first frame of a window in proportion to the change within the window.

        Returns:
            The frame. None if windows are drawn evenly, if nothing changes, or if the row of the index is damaged,
            which the worker that reads it reports.
        """
        if self.motion is None:
            return None
        try:
            change = self.motion(row)
        except VidsslError:
            return None
        drawn = int(_random(self.seed, epoch, number, 1, "motion_window", attempt)[0])
        return draw_by_motion(change, self.span, drawn)


def draw_by_motion(change: npt.NDArray[np.uint16], span: int, drawn: int) -> int | None:
    """Chooses the first frame of a window in proportion to the change within the window.

    Args:
        change: uint16 [frames - 1], the change from each frame to the next.
        span: Frames of a window, 1 <= span <= frames.
        drawn: A random number below 2**64.

    Returns:
        The frame, 0..frames - span; None if no window shows any change.
    """
    before = np.concatenate((np.zeros(1, np.uint64), np.cumsum(change, dtype=np.uint64)))  # [frames]: up to each frame
    upto = np.cumsum(
        before[span - 1 :] - before[: len(before) - span + 1], dtype=np.uint64
    )  # of windows that begin here
    if not upto[-1]:
        return None
    return int(np.searchsorted(upto, np.uint64(drawn * int(upto[-1]) >> 64), side="right"))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which positions of an epoch each batch of this rank holds.

    Batch b holds positions [(b * world_size + rank) * batch_size, ...): the ranks share one global sequence. Training
    drops the positions that do not fill a global batch; in evaluation the last batches may be smaller or missing.

    Args:
        sampler: Of the positions.
        batch_size: Tuples per batch of this rank.
        rank: Rank of this process.
        world_size: Number of ranks.
    """

    sampler: Sampler
    batch_size: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        """Batches per epoch of this rank."""
        whole, count = self.batch_size * self.world_size, len(self.sampler)
        return count // whole if self.sampler.train else -(-max(count - self.rank * self.batch_size, 0) // whole)

    def positions(self, batch: int) -> range:
        """Returns the first position of each window of a batch."""
        first = (batch * self.world_size + self.rank) * self.batch_size
        return range(first, min(first + self.batch_size, len(self.sampler)), self.sampler.tuples)
