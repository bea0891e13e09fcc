"""What one worker does for one window: choose it, plan it if no motion is needed for that, decode it, and assemble its frames as they come
where it was given memory for that, or cut it out of its file for a decoder in the graph; try the next one if it is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vidssl.loader.graph_decoder import Hardware
from vidssl.kernels.assemble import Layout
from vidssl.deadline import Deadline, Late, check_timeout
from vidssl.video.decode import Decoder, Video
from vidssl.kernels.decode_assemble import fused
from vidssl.index.table import VideoIndex
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.video.segment import Slice, SliceError, cut
from vidssl.loader.sampler import Sampler
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

    number: int64 [F] numbers of its decoded frames. frames: those; None where they are assembled already, or are to be decoded in the
    graph, from `piece`. fallback: why there is no piece although there is a decoder; "" else. plan: the plans of its tuples as one,
    slots [tuples * K], label and status [tuples], `frame` counting in `number`; None where motion is needed first.
    """

    epoch: int
    window: Window
    video: Video
    samples: tuple[int, ...]  # what the draws of each tuple's plan see
    number: npt.NDArray[np.int64]
    frames: Frames | None
    piece: Slice | None
    fallback: str
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
    """Thread-safe: it only reads, but for `known_bad`, which saves reading a bad file twice and never changes what is shown, and `refused`.

    hardware: the decoder in the graph, if there is one. refused: rows of videos that it does not take, and why. failed: windows that
    it was given and did not decode. file_timeout: seconds that a window may take, as in `Deadline`.
    """

    index: VideoIndex
    spec: PlanSpec
    sampler: Sampler
    decoder: Decoder
    hardware: Hardware | None = None
    file_timeout: float | None = None
    known_bad: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    failed: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_timeout("Loader", self.file_timeout)

    def __call__(self, epoch: int, position: int, room: Room | None = None) -> Fetched:
        """The window whose first tuple is at `position`; its clips in `room`, if there is one.

        Raises VidsslError when no window of the epoch can be read.
        """
        bad: list[Bad] = []
        for attempt in range(len(self.sampler.rows)):
            window = self.sampler.window(epoch, position, attempt)
            reason = self.known_bad.get(window.video)
            if reason is None:
                try:
                    video = self.index.video(window.video)
                    with Deadline.enter(video.path, video.bytes, self.file_timeout):
                        return self._read(epoch, window, video, bad, room)
                except VidsslError as error:
                    reason = self.known_bad[window.video] = str(error)
            bad.append(Bad(epoch=epoch, window=window, path=self.index.name(window.video), reason=reason))
        raise VidsslError(f"epoch {epoch}, position {position}: none of {len(bad)} videos can be read; the last one: {bad[-1].reason}")

    def give_up(self, epoch: int, position: int, late: Late) -> None:
        """The worker that was to read the window at `position` hangs in a file, which is bad from now on."""
        for attempt in range(len(self.sampler.rows)):
            row = self.sampler.window(epoch, position, attempt).video
            if row not in self.known_bad:
                if self.index.name(row) == late.path:
                    self.known_bad[row] = str(late)
                return

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
        piece, fallback = self._cut(window.video, video, numbers) if self.hardware is not None else (None, "")
        if piece is None and room is None:
            frames = self.decoder(video, numbers)
        elif room is not None:
            assert joined is not None
            layout: Layout = "kthwc" if room.channels_last else "kcthw"
            fused(video, numbers, joined, room.batch[room.at], layout=layout, used_before=room.used_before)
        return Fetched(
            epoch=epoch, window=window, video=video, samples=samples, number=numbers, frames=frames, piece=piece, fallback=fallback,
            plan=joined, bad=tuple(bad),
        )  # fmt: skip

    def again(self, fetched: Fetched, reason: str) -> Fetched:
        """A window that the decoder in the graph failed on, decoded on the CPU after all."""
        self.failed.append(fetched.window)
        return replace(fetched, piece=None, fallback=reason, frames=self.decoder(fetched.video, fetched.number))

    def _cut(self, row: int, video: Video, numbers: npt.NDArray[np.int64]) -> tuple[Slice | None, str]:
        """What the decoder in the graph is given, or why it gets nothing."""
        assert self.hardware is not None
        reason = self.refused.get(row)
        if reason is None:
            reason = self.hardware.refusal(video)
            if reason:
                self.refused[row] = reason
        if reason:
            return None, reason
        try:
            piece = cut(video, numbers)
        except SliceError as error:  # of this window: another one of the file may do
            return None, str(error)
        return (None, piece.doubt) if piece.doubt and self.hardware.device == "mixed" else (piece, "")

    def _plan(self, epoch: int, sample: int, frames: int, size: tuple[int, int]) -> Plan:
        sampler = self.sampler
        return plan(
            self.spec, frames=frames, size=size, seed=sampler.seed, epoch=sampler.draw_epoch(epoch), sample=sample, train=sampler.train
        )


def _join(plans: Sequence[Plan]) -> Plan:
    return Plan(*(np.concatenate([np.atleast_1d(part) for part in parts]) for parts in zip(*plans, strict=True)))
