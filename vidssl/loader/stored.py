"""The worker of the engine "store": most of its windows lie on the device already, so that no file is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import Spec
from vidssl.loader.sampler import Sampler
from vidssl.loader.windows import DecodedWindow, OutputSlot, Request, StoredWindow
from vidssl.loader.worker import Worker
from vidssl.store.device import Arenas
from vidssl.store.fill import Lacking
from vidssl.store.frames import FrameStore
from vidssl.types import Frames, Window


class StoredWorker(Worker[StoredWindow | DecodedWindow]):
    """Finds windows in `arenas`; copies a video there when it meets it first; reads or decodes what does not fit.

    stage: puts read or decoded frames where the engine's device takes them from.
    """

    def __init__(
        self,
        index: VideoIndex,
        spec: Spec,
        sampler: Sampler,
        arenas: Arenas,
        *,
        store: FrameStore,
        stage: Callable[[Frames], Frames],
        missed: Callable[[int, Lacking], None] | None = None,
        file_timeout: float | None = None,
    ) -> None:
        super().__init__(index, spec, sampler, store=store, missed=missed, file_timeout=file_timeout)
        self._arenas, self._decode, self._stage = arenas, store.decode, stage

    def at_hand(self, epoch: int, positions: range) -> Sequence[StoredWindow | None]:
        windows = self._sampler.windows(epoch, positions.start, len(positions))
        return [self._stored(epoch, window) for window in windows]

    def _stored(self, epoch: int, window: Window) -> StoredWindow | None:
        place = self._arenas.find(window.video)
        if place is None:
            return None
        request = Request(
            epoch=epoch,
            window=window,
            video=place.video,
            samples=self._sampler.samples(window),
            number=np.arange(window.first, window.first + window.span),
            plan=None,
            failures=(),
        )
        return StoredWindow(request=request, place=place)

    def _fetch(self, request: Request, slot: OutputSlot | None) -> StoredWindow | DecodedWindow:
        if request.kept is not None:
            place = self._arenas.admit(request.window.video, request.video)
            if place is not None:
                return StoredWindow(request=request, place=place)
        frames = request.kept or self._decode(request.video, request.number)
        return DecodedWindow(request=request, frames=self._stage(frames))
