"""Which positions a batch holds, and which frames of which video a position shows.

A window is a pure function of (seed, epoch, position).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vidssl.index.mixture import Mixture
from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import Spec
from vidssl.loader.order import Share, apportion, count_places, epoch_order, random_numbers
from vidssl.types import VidsslError, Window

_NO_EPOCH = 0  # evaluation shows the same windows in every epoch


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """Chooses the window of each position. An epoch shows one window of every video, or, of several data sets, as many
    windows as there are videos, in the shares of their weights (vidssl.loader.order).

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
        mixed: What training shows of each data set in an epoch; `rows` holds their videos, one set after the other. ()
            is a single set.
    """

    rows: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    span: int
    seed: int
    train: bool
    tuples: int = 1
    whole: bool = False
    motion: Callable[[int], npt.NDArray[np.uint16]] | None = None
    mixed: tuple[Share, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise VidsslError(f"seed={self.seed}: take 0 <= seed < 2**63")

    @classmethod
    def of(cls, index: VideoIndex, spec: Spec, *, seed: int, train: bool, tuples: int) -> Sampler:
        """Returns the sampler of the videos of `index` that are long enough for `spec`.

        Raises:
            VidsslError: No video is long enough, or a data set of a mixture has none, or no place in an epoch.
        """
        rows = index.usable(spec.frames)
        if not len(rows):
            raise VidsslError(
                f"index: none of its {len(index)} videos has the {spec.frames} frames that a window needs; "
                + index.why_none(spec.frames)
            )
        mixed: tuple[Share, ...] = ()
        if train and isinstance(index, Mixture):
            part = index.part[rows]
            rows = rows[np.argsort(part, kind="stable")]
            mixed = _shares(index, np.bincount(part, minlength=len(index.names)).tolist(), spec.frames)
        frames = np.asarray(index.column("frames").to_numpy(), np.int64)[rows]
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
            mixed=mixed,
        )

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """What training shows of each data set in an epoch."""
        return self.mixed or (Share("", len(self.rows), len(self.rows)),)

    def __len__(self) -> int:
        """Positions per epoch."""
        return len(self.rows) * self.tuples

    def draw_epoch(self, epoch: int) -> int:
        """Returns the epoch that random draws see."""
        return epoch if self.train else _NO_EPOCH

    def draw_sample(self, position: int, video: int) -> int:
        """Returns the sample number that a plan's draws see. In evaluation it depends on the video alone."""
        return position if self.train else video * self.tuples + position % self.tuples

    def samples(self, window: Window) -> range:
        """Returns the sample number of each tuple of a window."""
        first = self.draw_sample(window.position, window.video)
        return range(first, first + self.tuples)

    def window(self, epoch: int, position: int, attempt: int = 0) -> Window:
        """Returns the window at `position` of `epoch`.

        attempt: 0, or the number of videos before it that are corrupt: the window is then of a later video.
        """
        return self.windows(epoch, position, 1, attempt)[0]

    def windows(self, epoch: int, position: int, count: int, attempt: int = 0) -> list[Window]:
        """Returns the window at `position` of `epoch` and those that follow it, `count` in all; at most once each."""
        number = position // self.tuples
        at = np.arange(number + attempt, number + attempt + count) % len(self.rows)
        if self.train:
            at = epoch_order(self.seed, epoch, self.shares)[at]
        rows, frames = self.rows[at].tolist(), self.frames[at].tolist()
        spans = frames if self.whole else [self.span] * count
        lasts = [has - span for has, span in zip(frames, spans, strict=True)]  # where a window can begin at the latest
        firsts = [last // 2 for last in lasts]
        if self.train:
            drawn = random_numbers(self.seed, epoch, number, count, "window", attempt).tolist()
            firsts = [one * (last + 1) >> 64 for one, last in zip(drawn, lasts, strict=True)]
        if self.train and self.motion is not None:
            chosen = [self._first_by_motion(epoch, number + one, attempt, row) for one, row in enumerate(rows)]
            firsts = [even if one is None else one for one, even in zip(chosen, firsts, strict=True)]
        positions = range(position, position + count * self.tuples, self.tuples)
        return list(map(Window, positions, rows, firsts, spans))

    def _first_by_motion(self, epoch: int, number: int, attempt: int, row: int) -> int | None:
        """Draws the first frame of a window in proportion to the change within the window.

        Returns:
            The frame. None if nothing changes, or if the row of the index is damaged, which the worker that reads it
            reports.
        """
        assert self.motion is not None
        try:
            change = self.motion(row)
        except VidsslError:
            return None
        drawn = int(random_numbers(self.seed, epoch, number, 1, "motion_window", attempt)[0])
        return draw_by_motion(change, self.span, drawn)


def _shares(index: Mixture, videos: list[int], frames: int) -> tuple[Share, ...]:
    """Returns what an epoch shows of each data set, which have these numbers of videos of at least `frames` frames."""
    places = apportion(index.weights, sum(videos))
    for name, weight, count, share in zip(index.names, index.weights, videos, places, strict=True):
        if not count:
            raise VidsslError(f"index: no video of {name!r} has the {frames} frames that a window needs; leave it out")
        if not share:
            raise VidsslError(
                f"index: weight {weight:g} of {name!r} gives it none of the {sum(videos)} places of an epoch; take a "
                "larger weight, or leave it out"
            )
    return tuple(map(Share, index.names, videos, places))


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

    def drawn(self, epoch: int, batch: int) -> dict[str, int]:
        """Returns the windows of each data set of a mixture that all ranks show before a batch; {} for a single set."""
        shares, each = self.sampler.mixed, self.batch_size * self.world_size // self.sampler.tuples
        if not shares:
            return {}
        counts = epoch * count_places(shares, len(self) * each) + count_places(shares, batch * each)
        return dict(zip((share.name for share in shares), counts.tolist(), strict=True))

    def positions(self, batch: int) -> range:
        """Returns the first position of each window of a batch."""
        first = (batch * self.world_size + self.rank) * self.batch_size
        return range(first, min(first + self.batch_size, len(self.sampler)), self.sampler.tuples)
