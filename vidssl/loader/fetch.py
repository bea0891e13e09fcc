"""What one worker does for one window: choose it, plan it if no motion is needed for that, decode it; try the next one if it is bad."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vidssl.stages.decode import Decoder
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import PlanSpec, plan
from vidssl.stages.window import Sampler
from vidssl.types import Frames, Plan, VidsslError, Window


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A window that could not be read, and why."""

    epoch: int
    window: Window
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetched:
    """A window on the host. plans: one for each of its tuples, `frame` counting in `frames`; None where motion is needed first."""

    epoch: int
    window: Window
    samples: tuple[int, ...]  # what the draws of each tuple's plan see
    frames: Frames
    plans: tuple[Plan, ...] | None
    bad: tuple[Bad, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fetcher:
    """Thread-safe: it only reads, but for `known_bad`, which saves reading a bad file twice and never changes what is shown."""

    index: VideoIndex
    spec: PlanSpec
    sampler: Sampler
    decoder: Decoder
    known_bad: dict[int, str] = field(default_factory=dict)

    def __call__(self, epoch: int, position: int) -> Fetched:
        """The window whose first tuple is at `position`. Raises VidsslError when no window of the epoch can be read."""
        bad: list[Bad] = []
        for attempt in range(len(self.sampler.rows)):
            window = self.sampler.window(epoch, position, attempt)
            video = self.index.video(window.video)
            reason = self.known_bad.get(window.video)
            if reason is None:
                try:
                    return self._read(epoch, window, bad)
                except VidsslError as error:
                    reason = self.known_bad[window.video] = str(error)
            bad.append(Bad(epoch=epoch, window=window, path=str(video.path), reason=reason))
        raise VidsslError(f"epoch {epoch}, position {position}: none of {len(bad)} videos can be read; the last one: {bad[-1].reason}")

    def _read(self, epoch: int, window: Window, bad: list[Bad]) -> Fetched:
        video = self.index.video(window.video)
        tuples = range(window.position, window.position + self.sampler.tuples)
        samples = tuple(self.sampler.draw_sample(position, window.video) for position in tuples)
        numbers = np.arange(window.first, window.first + window.span)
        plans: tuple[Plan, ...] | None = None
        if not self.spec.needs_motion:  # then only the frames that are shown are decoded
            plans = tuple(self._plan(epoch, sample, window.span, video.size) for sample in samples)
            wanted = np.unique(np.concatenate([p.frame.ravel() for p in plans]))
            plans = tuple(p._replace(frame=_places(wanted, p.frame)) for p in plans)
            numbers = numbers[wanted]
        frames = self.decoder(video, numbers)
        return Fetched(epoch=epoch, window=window, samples=samples, frames=frames, plans=plans, bad=tuple(bad))

    def _plan(self, epoch: int, sample: int, frames: int, size: tuple[int, int]) -> Plan:
        sampler = self.sampler
        return plan(
            self.spec, frames=frames, size=size, seed=sampler.seed, epoch=sampler.draw_epoch(epoch), sample=sample, train=sampler.train
        )


def _places(wanted: npt.NDArray[np.int32], frame: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.searchsorted(wanted, frame).astype(np.int32)
