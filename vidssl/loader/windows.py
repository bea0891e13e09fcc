"""A window on its way from the sampler to the batch: requested, then decoded, assembled, or cut out of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vidssl.types import Array, Frames, Plan, Window
from vidssl.video.decode import Video
from vidssl.video.segment import Segment


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A window that could not be read, and why. The window of another video took its place."""

    epoch: int
    window: Window
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """Which frames of which video a window shows.

    samples: what the random draws of each tuple's plan see. number: int64 [F], the numbers of the frames to decode.
    plan: the plans of all its tuples as one: slots [tuples * K], label and status [tuples], `frame` counts in `number`;
    None where the plan needs motion, which the engine computes. failures: the windows that this one replaces.
    """

    epoch: int
    window: Window
    video: Video
    samples: tuple[int, ...]
    number: npt.NDArray[np.int64]
    plan: Plan | None
    failures: tuple[Failure, ...]

    def positions(self) -> npt.NDArray[np.int64]:
        """Positions, counted from the window's first frame, of the frames that the plan shows: int64 [tuples * K, T]."""
        assert self.plan is not None, "only the engine knows the positions of a plan that needs motion"
        return np.asarray(self.number[self.plan.frame] - self.window.first)


@dataclass(frozen=True, kw_only=True)
class OutputSlot:
    """Where the clips of one window belong in the batch.

    batch: [windows, tuples * K, C, T, h, w], C last where channels_last. at: the window's place in it. used_before: the
    memory was written before, so its pages are not fresh.
    """

    batch: Array
    at: int
    channels_last: bool
    used_before: bool


class FetchedWindow(Protocol):
    """What every kind of window on its way has."""

    @property
    def request(self) -> Request: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedWindow:
    """Frames on the host. fallback: why the decoder in the graph did not decode them; "" where there is no such
    decoder.
    """

    request: Request
    frames: Frames
    fallback: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssembledWindow:
    """Clips that lie in their slot of the batch already."""

    request: Request
    slot: OutputSlot


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentWindow:
    """A segment of the bitstream, for a decoder in the graph."""

    request: Request
    segment: Segment
