"""Fetches one window in a worker thread: choose it, plan it, and decode, assemble or cut it.

A window whose video cannot be read is replaced by the window of the next video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar, cast

import numpy as np

from vidssl.deadline import Deadline, FileTimeoutError, check_timeout
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import DType, Layout, assemble
from vidssl.kernels.decode_assemble import decode_assemble
from vidssl.kernels.joint import Spec, draw_plans
from vidssl.kernels.motion import Motion, motion
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.sampler import Sampler
from vidssl.loader.windows import (
    AssembledWindow,
    DecodedWindow,
    Failure,
    FetchedWindow,
    OutputSlot,
    Request,
    SegmentWindow,
)
from vidssl.store.fill import Lacking
from vidssl.store.frames import FrameStore
from vidssl.types import Frames, Plan, VidsslError, Window
from vidssl.video.decode import Decoder, Video
from vidssl.video.exhausted import exhausted
from vidssl.video.segment import SegmentError, cut_segment

W_co = TypeVar("W_co", bound=FetchedWindow, covariant=True)


class Worker(ABC, Generic[W_co]):
    """Fetches windows. All threads share one worker, which changes only `corrupt`, `late` and `SegmentWorker`'s
    refusals.

    The attribute `corrupt` has the files of which a window could not be read (the first of each file's rows, as in
    `VideoIndex.files`). It is there to be counted: what is shown does not depend on what this process read before, so
    each window is tried.

    The attribute `late` maps files that exceeded their time limit to the reason. Their windows are not tried again:
    each could take a minute, and which of them are in time depends on the machine anyway.

    Args:
        index: The videos.
        spec: The task's table, or those of several.
        sampler: Chooses the windows.
        store: Has frames that need no decoding, and the size of all others. None: frames have their own size.
        missed: Called with the row of a video, and what the store lacks of it.
        file_timeout: Seconds that a window may take, as in `Deadline`.
    """

    def __init__(
        self,
        index: VideoIndex,
        spec: Spec,
        sampler: Sampler,
        *,
        store: FrameStore | None = None,
        missed: Callable[[int, Lacking], None] | None = None,
        file_timeout: float | None = None,
    ) -> None:
        check_timeout("Loader", file_timeout)
        self._index, self._spec, self._sampler, self._file_timeout = index, spec, sampler, file_timeout
        self._store, self._missed = store, missed
        self._files = index.files
        self.corrupt: set[int] = set()
        self.late: dict[int, str] = {}

    def __call__(self, epoch: int, position: int, slot: OutputSlot | None = None) -> W_co:
        """Fetches the window whose first tuple is at `position` of `epoch`.

        slot: where a worker that assembles writes the clips. Raises VidsslError if no video can be read, or no file
        can be opened any more.
        """
        failures: list[Failure] = []
        for attempt in range(len(self._sampler.rows)):
            window = self._sampler.window(epoch, position, attempt)
            file = self.file(window.video)
            reason = self.late.get(file)
            if reason is None:
                try:
                    video = self._index.video(window.video)
                    if self._spec.windows == "motion":
                        self._index.motion(window.video)  # raises if the sampler could not read it
                    with Deadline.enter(video.path, video.bytes, self._file_timeout):
                        return self._fetch(self._request(epoch, window, video, failures), slot)
                except VidsslError as error:
                    if lacking := exhausted(error, self._index.name(window.video)):
                        raise lacking from error
                    reason = str(error)
                    self.corrupt.add(file)
                    if isinstance(error, FileTimeoutError):
                        self.late[file] = reason
            path = self._index.name(window.video)
            failures.append(Failure(epoch=epoch, window=window, file=file, path=path, reason=reason))
        raise VidsslError(
            f"epoch {epoch}, position {position}: none of {len(failures)} videos can be read; "
            f"the last one: {failures[-1].reason}"
        )

    def file(self, row: int) -> int:
        """Returns the number of a row's file, as `corrupt` counts them."""
        return int(self._files[row])

    def at_hand(self, epoch: int, positions: range) -> Sequence[W_co | None]:
        """Returns the windows of a batch that need no file, and so no thread; None in the place of each other one."""
        return [None] * len(positions)

    def give_up(self, epoch: int, position: int, late: FileTimeoutError) -> None:
        """Marks the video of the window at `position` as late: a thread hangs in its file."""
        for attempt in range(len(self._sampler.rows)):
            row = self._sampler.window(epoch, position, attempt).video
            file = self.file(row)
            if file in self.late:
                continue
            if self._index.name(row) == late.path:
                self.corrupt.add(file)
                self.late[file] = str(late)
                return
            if file not in self.corrupt:  # the thread did not get further than this
                return

    @abstractmethod
    def _fetch(self, request: Request, slot: OutputSlot | None) -> W_co: ...

    def _request(self, epoch: int, window: Window, video: Video, failures: Sequence[Failure]) -> Request:
        samples = self._sampler.samples(window)
        number, joined = np.arange(window.first, window.first + window.span), None
        kept = self._kept(video, window)
        if not self._spec.needs_motion:
            size = video.size if self._store is None else self._store.size_of(video)
            joined = self._plan(epoch, samples, window.span, size)
            if kept is None:  # only the frames that are shown are decoded
                wanted = np.unique(joined.frame)
                joined = joined._replace(frame=np.searchsorted(wanted, joined.frame).astype(np.int32))
                number = number[wanted]
        return Request(
            epoch=epoch,
            window=window,
            video=video,
            samples=samples,
            number=number,
            plan=joined,
            failures=tuple(failures),
            kept=kept,
        )

    def _kept(self, video: Video, window: Window) -> Frames | None:
        """Returns the frames of a window from the store; None if it lacks them."""
        if self._store is None:
            return None
        kept = self._store.read(video, window.first, window.span)
        if kept is None and self._missed is not None:
            self._missed(window.video, "frames")
        return kept

    def _plan(
        self, epoch: int, samples: Sequence[int], frames: int, size: tuple[int, int], score: Motion | None = None
    ) -> Plan:
        """Draws the plans of all tuples of a window, and joins them. score: of its frames, if plans need motion."""
        sampler = self._sampler
        return draw_plans(
            self._spec,
            windows=np.full((len(samples), 3), (frames, *size), np.int32),
            seed=sampler.seed,
            epoch=sampler.draw_epoch(epoch),
            samples=np.array(samples, np.uint64),
            train=sampler.train,
            score=score,
        )


class DecodingWorker(Worker[DecodedWindow]):
    """Decodes the frames with `decoder`, or takes them from the store; the engine assembles them.

    stage: puts all frames where the engine's device takes them from; None leaves them where they are.
    """

    def __init__(
        self,
        index: VideoIndex,
        spec: Spec,
        sampler: Sampler,
        decoder: Decoder,
        *,
        stage: Callable[[Frames], Frames] | None = None,
        store: FrameStore | None = None,
        missed: Callable[[int, Lacking], None] | None = None,
        file_timeout: float | None = None,
    ) -> None:
        super().__init__(index, spec, sampler, store=store, missed=missed, file_timeout=file_timeout)
        self._decoder, self._stage = decoder, stage

    def _fetch(self, request: Request, slot: OutputSlot | None) -> DecodedWindow:
        frames = request.kept or self._decoder(request.video, request.number)
        return DecodedWindow(request=request, frames=self._stage(frames) if self._stage is not None else frames)


class AssemblingWorker(Worker[AssembledWindow]):
    """Writes the clips of a window into its output slot, on the CPU.

    Frames that no plan waits for are assembled one by one as they leave a decoder of this thread, unless the store
    changes their size. All others are taken from the store, or decoded with `decoder`, before motion, plan and assemble
    run.

    streams: False decodes all frames of a window with `decoder` first.
    """

    def __init__(
        self,
        index: VideoIndex,
        spec: Spec,
        sampler: Sampler,
        decoder: Decoder,
        *,
        streams: bool = True,
        store: FrameStore | None = None,
        missed: Callable[[int, Lacking], None] | None = None,
        file_timeout: float | None = None,
    ) -> None:
        super().__init__(index, spec, sampler, store=store, missed=missed, file_timeout=file_timeout)
        self._decoder, self._streams = decoder, streams

    def _fetch(self, request: Request, slot: OutputSlot | None) -> AssembledWindow:
        assert slot is not None, "the inline engine gives each window a slot"
        layout: Layout = "kthwc" if slot.channels_last else "kcthw"
        clips, used = slot.batch[slot.at], slot.used_before
        if self._streams and self._store is None and request.plan is not None:
            decode_assemble(request.video, request.number, request.plan, clips, layout=layout, used_before=used)
            return AssembledWindow(request=request, slot=slot)
        frames = request.kept or self._decoder(request.video, request.number)
        drawn = request.plan
        if drawn is None:
            score = self._score(request, frames)
            drawn = self._plan(request.epoch, request.samples, request.window.span, frames.size, score)
            request = replace(request, plan=drawn)
        assemble(
            frames,
            drawn,
            size=self._spec.augment.crop,
            dtype=cast(DType, str(clips.dtype).removeprefix("torch.")),
            layout=layout,
            out=clips,
            used_before=used,
        )
        return AssembledWindow(request=request, slot=slot)

    def _score(self, request: Request, frames: Frames) -> Motion:
        """Returns the motion of a window: from the store, or measured."""
        if self._store is None or request.kept is None:
            return motion(frames)
        score = self._store.motion(request.video, request.window.first, request.window.span)
        if score is None and self._missed is not None:
            self._missed(request.window.video, "motion")
        return motion(frames) if score is None else score


class SegmentWorker(Worker[DecodedWindow | SegmentWindow]):
    """Cuts windows out of their files for a decoder in the graph.

    It decodes windows on the CPU with `decoder` if `graph_decoder` does not take them.
    """

    def __init__(
        self,
        index: VideoIndex,
        spec: Spec,
        sampler: Sampler,
        decoder: Decoder,
        graph_decoder: GraphDecoder,
        *,
        file_timeout: float | None = None,
    ) -> None:
        super().__init__(index, spec, sampler, file_timeout=file_timeout)
        self._decoder, self._graph_decoder = decoder, graph_decoder
        self._refused: dict[int, str] = {}  # row of a video: why the decoder in the graph does not take it

    def refuse(self, row: int, reason: str) -> None:
        """Decodes the video of this row on the CPU from now on."""
        self._refused[row] = reason

    def decode_on_cpu(self, request: Request, reason: str) -> DecodedWindow:
        """Decodes the window on the CPU. reason: why the decoder in the graph does not take it."""
        return DecodedWindow(request=request, frames=self._decoder(request.video, request.number), fallback=reason)

    def _fetch(self, request: Request, slot: OutputSlot | None) -> DecodedWindow | SegmentWindow:
        reason = self._refusal(request.window.video, request.video)
        if reason:
            return self.decode_on_cpu(request, reason)
        try:
            segment = cut_segment(request.video, request.number)
        except SegmentError as error:  # of this window alone: another window of the file may work
            return self.decode_on_cpu(request, str(error))
        if segment.doubt and self._graph_decoder.device == "mixed":
            return self.decode_on_cpu(request, segment.doubt)
        return SegmentWindow(request=request, segment=segment)

    def _refusal(self, row: int, video: Video) -> str:
        if row not in self._refused and (reason := self._graph_decoder.refusal(video)):
            self._refused[row] = reason
        return self._refused.get(row, "")
