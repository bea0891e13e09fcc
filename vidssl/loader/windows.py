"""The types of a window between sampler and batch: requested, then decoded, assembled, cut out of its file, or found
where its frames are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vidssl.store.device import Place
from vidssl.types import Array, Frames, Plan, Window
from vidssl.video.decode import Video
from vidssl.video.segment import Segment


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A window that could not be read, and the reason. The window of another video replaced it.

    file: Number of the video's file, as `Worker.file` gives it.
    """

    epoch: int
    window: Window
    file: int
    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """Which frames of which video a window shows.

    Args:
        epoch: Epoch of the window.
        window: Position, video and frames.
        video: How to decode the video.
        samples: Sample number of each tuple, for the random draws of its plan.
        number: int64 [F], numbers of the frames to decode.
        plan: The plans of all tuples, joined: slots [tuples * K], label and status [tuples], of several
            tasks [tuples * tasks]; `frame` indexes `number`.
            None if the engine makes it, as it does for all plans that need motion.
        failures: Windows that this one replaces.
        kept: The window's frames, from the store; None if they are to be decoded.
    """

    epoch: int
    window: Window
    video: Video
    samples: range
    number: npt.NDArray[np.int64]
    plan: Plan | None
    failures: tuple[Failure, ...]
    kept: Frames | None = None

    def positions(self) -> npt.NDArray[np.int64]:
        """Returns the shown frames, counted from the window's first frame: int64 [tuples * K, T]."""
        assert self.plan is not None, "a plan that needs motion is made by the engine"
        return np.asarray(self.number[self.plan.frame] - self.window.first)


@dataclass(frozen=True, kw_only=True)
class OutputSlot:
    """Where a worker writes the clips of one window.

    Args:
        batch: [windows, tuples * K, C, T, h, w]; C is last if `channels_last`.
        at: Index of the window in `batch`.
        channels_last: Memory order of `batch`.
        used_before: The memory was written before, so its pages are not fresh.
    """

    batch: Array
    at: int
    channels_last: bool
    used_before: bool


class FetchedWindow(Protocol):
    """What all kinds of fetched windows have."""

    @property
    def request(self) -> Request: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedWindow:
    """A window whose frames are decoded, on the host.

    fallback: why the decoder in the graph did not decode them; "" if there is no such decoder.
    """

    request: Request
    frames: Frames
    fallback: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class AssembledWindow:
    """A window whose clips are in their output slot."""

    request: Request
    slot: OutputSlot


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredWindow:
    """A window whose frames lie on the device already. The engine makes its plan."""

    request: Request
    place: Place


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentWindow:
    """A window as a segment of the bitstream, for a decoder in the graph."""

    request: Request
    segment: Segment
