"""dali with a decoder in the graph, and a second graph for the windows that this decoder does not take."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from vidssl.loader.engines.base import Engine, Output, Settings
from vidssl.loader.engines.dali import FrameGraph, SegmentGraph
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.windows import DecodedWindow, SegmentWindow
from vidssl.loader.worker import SegmentWorker
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
_FAILURES = 3  # batches that the decoder may fail on although it fails on none of their windows alone

Part = tuple[list[int], Output]  # indices of some windows in the batch, and their tuples


class DaliDecode(Engine[DecodedWindow | SegmentWindow]):
    """Sends segments through a graph that decodes, and frames through a graph that does not.

    A batch of one kind is returned as it is; a batch of both is merged (a copy on the device). The decoder fails for a
    whole batch at once. That batch is then decoded on the CPU, and so are from then on all windows of the videos that
    the decoder fails on alone.
    """

    def __init__(self, settings: Settings, decoder: GraphDecoder, worker: SegmentWorker) -> None:
        self.settings, self._decoder, self._worker = settings, decoder, worker
        self._frames = FrameGraph(settings)
        self._segments = SegmentGraph(settings, decoder)
        self._failures = 0

    def push(self, windows: Sequence[DecodedWindow | SegmentWindow]) -> None:
        self._pushed = windows
        if segments := [window for window in windows if isinstance(window, SegmentWindow)]:
            self._segments.push(segments)
        if frames := [window for window in windows if isinstance(window, DecodedWindow)]:
            self._frames.push(frames)

    def pull(self) -> Output:
        windows = self._taken()
        parts: list[Part] = []
        if self._frames.pending:  # first: _on_cpu needs this graph if the other one fails
            places = [at for at, window in enumerate(windows) if isinstance(window, DecodedWindow)]
            parts.append((places, self._frames.pull()))
        if self._segments.pending:
            segments = {at: window for at, window in enumerate(windows) if isinstance(window, SegmentWindow)}
            try:
                output = self._segments.pull()
            except RuntimeError as error:  # DALI's, about the whole batch
                output = self._on_cpu(list(segments.values()), str(error))
            parts.append((list(segments), output))
        return parts[0][1] if len(parts) == 1 else _merged(parts, len(windows))

    def close(self) -> None:
        super().close()
        self._frames.close()
        self._segments.close()

    def _on_cpu(self, windows: Sequence[SegmentWindow], error: str) -> Output:
        self._renew()
        name = self._decoder.name
        reasons = [self._failure(window) for window in windows]
        for window, reason in zip(windows, reasons, strict=True):
            if reason:
                self._worker.refuse(window.request.window.video, reason)
                path = window.request.video.path
                log.warning("%s: %s cannot decode it (%s); it is decoded on the CPU", path, name, reason)
        if not any(reasons):
            self._failures += 1
            log.warning("%s failed on a batch (%s), but on none of its windows alone", name, _short(error))
            if self._failures >= _FAILURES:
                raise VidsslError(
                    f'decode="nvdec": {self._failures} batches failed, the last one because {_short(error)}; '
                    'take decode="cpu"'
                )
        self.fallbacks += len(windows)
        self._frames.push(
            [
                self._worker.decode_on_cpu(window.request, reason or _short(error))
                for window, reason in zip(windows, reasons, strict=True)
            ]
        )
        return self._frames.pull()

    def _failure(self, window: SegmentWindow) -> str:
        """Returns why the decoder fails on this window alone; "" if it does not."""
        try:
            self._segments.push([window])
            self._segments.pull()
        except RuntimeError as error:
            self._renew()
            return _short(str(error))
        return ""

    def _renew(self) -> None:
        """Makes a new graph: DALI's pipeline cannot run again after an error."""
        self._segments.close()
        self._segments = SegmentGraph(self.settings, self._decoder)


def _merged(parts: Sequence[Part], windows: int) -> Output:
    return Output(
        *(_scattered([(places, output[at]) for places, output in parts], windows) for at in range(len(Output._fields)))
    )


def _scattered(parts: Sequence[tuple[list[int], torch.Tensor]], windows: int) -> torch.Tensor:
    """Returns one tensor with the items of all windows, in the order of the batch."""
    (places, first), *_ = parts
    each = len(first) // len(places)
    # Keep the memory order of the parts: clips may be channels-last.
    strides = first.stride()
    order = sorted(range(first.ndim), key=lambda axis: (-strides[axis], axis))
    shape = [windows * each, *first.shape[1:]]
    out = first.new_empty([shape[axis] for axis in order]).permute([order.index(axis) for axis in range(first.ndim)])
    for places, part in parts:
        for at, place in enumerate(places):
            out[place * each : (place + 1) * each] = part[at * each : (at + 1) * each]
    return out


def _short(error: str) -> str:
    """Returns DALI's message of an error, without the places in the code."""
    told = error.rpartition("encountered:")[2]
    for end in ("C++ context", "Stacktrace", "Current pipeline"):
        told = told.partition(end)[0]
    return " ".join(told.split())[:300] or " ".join(error.split())[:300]
