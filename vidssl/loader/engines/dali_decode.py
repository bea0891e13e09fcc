"""hardware: the engine of a graph with a decoder in it, beside the graph that takes frames: for windows that the decoder does not take."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from vidssl.loader.engines.base import Engine, Output, Setting
from vidssl.loader.worker import Fetched, Fetcher, Room
from vidssl.loader.engines.dali import Graph
from vidssl.loader.graph_decoder import Hardware
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
_FAILURES = 3  # of the decoder for no window's reason, before the run stops

Part = tuple[list[int], Graph]  # windows of the batch, by place, and where they are


class HardwareEngine(Engine):
    """Windows that came as a piece of bitstream go through the graph that decodes; the others' frames through the one that does not.

    A batch of one kind is handed on as it is; of both, it is put together (a copy on the device). When the decoder fails, which it does
    for a whole batch at once, the batch is decoded on the CPU, and videos that it fails on alone are not given to it again.
    """

    def __init__(self, setting: Setting, hardware: Hardware, fetcher: Fetcher) -> None:
        self.setting, self._hardware, self._fetcher = setting, hardware, fetcher
        self._plain = Graph(setting)
        self._decoding = Graph(setting, hardware)
        self._parts: list[Part] = []
        self._failures = 0

    def push(self, windows: Sequence[Fetched], rooms: Sequence[Room | None]) -> None:
        cut = [at for at, fetched in enumerate(windows) if fetched.piece is not None]
        whole = [at for at, fetched in enumerate(windows) if fetched.piece is None]
        self._pushed = windows
        self._parts = [part for part in ((cut, self._decoding), (whole, self._plain)) if part[0]]
        for places, graph in self._parts:
            graph.push([windows[at] for at in places], [None] * len(places))

    def pull(self) -> Output:
        windows = self._taken()
        parts, self._parts = self._parts, []
        # The plain one first: it is needed where the other fails.
        found = [(places, self._pull(places, graph, windows)) for places, graph in reversed(parts)]
        return found[0][1] if len(found) == 1 else self._joined(found, len(windows))

    def close(self) -> None:
        super().close()
        self._plain.close()
        self._decoding.close()

    def _pull(self, places: list[int], graph: Graph, windows: Sequence[Fetched]) -> Output:
        if graph is self._plain:
            return graph.pull()
        try:
            return graph.pull()
        except RuntimeError as error:  # DALI's; it says what of the whole batch was wrong
            return self._on_cpu([windows[at] for at in places], str(error))

    def _on_cpu(self, windows: Sequence[Fetched], error: str) -> Output:
        self._renew()
        reasons = [self._alone(fetched) for fetched in windows]
        for fetched, reason in zip(windows, reasons, strict=True):
            if reason:
                self._fetcher.refused[fetched.window.video] = reason
                log.warning("%s: %s cannot decode it (%s); it is decoded on the CPU", fetched.video.path, self._hardware.name, reason)
        if not any(reasons):
            self._failures += 1
            log.warning("%s failed on a batch (%s), but on none of its windows alone", self._hardware.name, _short(error))
            if self._failures >= _FAILURES:
                raise VidsslError(
                    f'decode="nvdec": {self._failures} batches failed, the last one because {_short(error)}; take decode="cpu"'
                )
        again = [self._fetcher.again(fetched, reason or _short(error)) for fetched, reason in zip(windows, reasons, strict=True)]
        self._plain.push(again, [None] * len(again))
        return self._plain.pull()

    def _alone(self, fetched: Fetched) -> str:
        """Why the decoder fails on one window; "" where it does not."""
        try:
            self._decoding.push([fetched], [None])
            self._decoding.pull()
        except RuntimeError as error:
            self._renew()
            return _short(str(error))
        return ""

    def _renew(self) -> None:
        """After an error a pipeline is of no more use."""
        self._decoding.close()
        self._decoding = Graph(self.setting, self._hardware)

    def _joined(self, parts: list[tuple[list[int], Output]], windows: int) -> Output:
        return Output(*(_joined([(places, out[at]) for places, out in parts], windows) for at in range(len(Output._fields))))


def _joined(parts: Sequence[tuple[list[int], torch.Tensor]], windows: int) -> torch.Tensor:
    """One tensor whose items are at their windows' places in the batch."""
    (places, first), *_ = parts
    each = len(first) // len(places)
    # The memory order of the parts: clips may be channels-last.
    strides = first.stride()
    order = sorted(range(first.ndim), key=lambda axis: (-strides[axis], axis))
    shape = [windows * each, *first.shape[1:]]
    out = first.new_empty([shape[axis] for axis in order]).permute([order.index(axis) for axis in range(first.ndim)])
    for places, part in parts:
        for at, place in enumerate(places):
            out[place * each : (place + 1) * each] = part[at * each : (at + 1) * each]
    return out


def _short(error: str) -> str:
    """What DALI says of an error, without where in its code and in ours that was."""
    told = error.rpartition("encountered:")[2]
    for end in ("C++ context", "Stacktrace", "Current pipeline"):
        told = told.partition(end)[0]
    return " ".join(told.split())[:300] or " ".join(error.split())[:300]
