"""What one worker does for one window: choose it, plan it if no motion is needed for that, decode it, and assemble its frames as they come
where it was given memory for that; try the next one if it is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vidssl.stages.assemble import Layout
from vidssl.stages.decode import Decoder, Video
from vidssl.stages.fused import fused
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import PlanSpec, plan
from vidssl.stages.window import Sampler
from vidssl.types import Array, Frames, Plan, VidsslError, Window


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A window that could not be read, and why."""

    epoch: int
    window: Window
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetched:
    """A window on the host.

    number: int64 [F] numbers of its decoded frames. frames: those; None where they are assembled already. plan: the plans of its tuples as
    one, slots [tuples * K], label and status [tuples], `frame` counting in `number`; None where motion is needed first.
    """

    epoch: int
    window: Window
    samples: tuple[int, ...]  # what the draws of each tuple's plan see
    number: npt.NDArray[np.int64]
    frames: Frames | None
    plan: Plan | None
    bad: tuple[Bad, ...]


@dataclass(frozen=True, kw_only=True)
class Room:
    """Memory for the clips of one window: place `at` of `batch`, [windows, tuples * K, C, T, h, w] (channels_last: C at the end).

    used_before: its pages are not fresh.
    """

    batch: Array
    at: int
    channels_last: bool
    used_before: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetcher:
    """Thread-safe: it only reads, but for `known_bad`, which saves reading a bad file twice and never changes what is shown."""

    index: VideoIndex
    spec: PlanSpec
    sampler: Sampler
    decoder: Decoder
    known_bad: dict[int, str] = field(default_factory=dict)

    def __call__(self, epoch: int, position: int, room: Room | None = None) -> Fetched:
        """The window whose first tuple is at `position`; its clips in `room`, if there is one.

        Raises VidsslError when no window of the epoch can be read.
        """
        bad: list[Bad] = []
        for attempt in range(len(self.sampler.rows)):
            window = self.sampler.window(epoch, position, attempt)
            video = self.index.video(window.video)
            reason = self.known_bad.get(window.video)
            if reason is None:
                try:
                    return self._read(epoch, window, video, bad, room)
                except VidsslError as error:
                    reason = self.known_bad[window.video] = str(error)
            bad.append(Bad(epoch=epoch, window=window, path=str(video.path), reason=reason))
        raise VidsslError(f"epoch {epoch}, position {position}: none of {len(bad)} videos can be read; the last one: {bad[-1].reason}")

    def _read(self, epoch: int, window: Window, video: Video, bad: list[Bad], room: Room | None) -> Fetched:
        tuples = range(window.position, window.position + self.sampler.tuples)
        samples = tuple(self.sampler.draw_sample(position, window.video) for position in tuples)
        numbers = np.arange(window.first, window.first + window.span)
        joined: Plan | None = None
        if not self.spec.needs_motion:  # then only the frames that are shown are decoded
            joined = _join([self._plan(epoch, sample, window.span, video.size) for sample in samples])
            wanted = np.unique(joined.frame)
            joined = joined._replace(frame=np.searchsorted(wanted, joined.frame).astype(np.int32))
            numbers = numbers[wanted]
        frames: Frames | None = None
        if room is None:
            frames = self.decoder(video, numbers)
        else:
            assert joined is not None
            layout: Layout = "kthwc" if room.channels_last else "kcthw"
            fused(video, numbers, joined, room.batch[room.at], layout=layout, used_before=room.used_before)
        return Fetched(epoch=epoch, window=window, samples=samples, number=numbers, frames=frames, plan=joined, bad=tuple(bad))

    def _plan(self, epoch: int, sample: int, frames: int, size: tuple[int, int]) -> Plan:
        sampler = self.sampler
        return plan(
            self.spec, frames=frames, size=size, seed=sampler.seed, epoch=sampler.draw_epoch(epoch), sample=sample, train=sampler.train
        )


def _join(plans: Sequence[Plan]) -> Plan:
    return Plan(*(np.concatenate([np.atleast_1d(part) for part in parts]) for parts in zip(*plans, strict=True)))
