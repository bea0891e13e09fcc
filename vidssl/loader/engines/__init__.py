"""Engines make batches of fetched windows. Each has a worker that fetches the kind of window it takes.

| file | takes | makes |
|---|---|---|
| base.py | | what all engines share |
| inline.py | AssembledWindow | nothing: the workers wrote the clips into the batch |
| eager.py | DecodedWindow | the batch by motion, plan and assemble, called one by one |
| dali.py | DecodedWindow or SegmentWindow | the same by one DALI graph |
| store.py | StoredWindow and DecodedWindow, mixed | the batch by one call of assemble, from frames on the device |
| dali_decode.py | DecodedWindow and SegmentWindow, mixed | the same by two DALI graphs, one with a decoder in it |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from vidssl.cpus import cpus
from vidssl.index.table import VideoIndex
from vidssl.loader.buffers import pin, staged
from vidssl.loader.engines.base import Engine, Output, Settings
from vidssl.loader.engines.eager import Eager
from vidssl.loader.engines.inline import Inline
from vidssl.loader.engines.store import Stored
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.processes import Processes
from vidssl.loader.stored import StoredWorker
from vidssl.loader.worker import AssemblingWorker, DecodingWorker, SegmentWorker, Worker
from vidssl.native import dali_version, need_dali
from vidssl.store.device import Arenas
from vidssl.store.fill import Lacking
from vidssl.store.frames import FrameStore
from vidssl.video.decode import Decoder, decode

__all__ = ["ENGINES", "Engine", "Output", "Settings", "graph_engine", "make_engine"]

ENGINES = ("inline", "dali", "eager", "store")
_THREADS = 2  # so many decode about as fast as processes; on 16 cores, processes decoded three times as many windows


def graph_engine() -> str:
    """Returns the engine for frames that are not assembled by the workers: DALI's graph, if DALI is installed."""
    return "eager" if dali_version() is None else "dali"


def make_engine(
    name: str,
    settings: Settings,
    index: VideoIndex,
    graph_decoder: GraphDecoder | None = None,
    *,
    store: FrameStore | None = None,
    arenas: Arenas | None = None,
    missed: Callable[[int, Lacking], None] | None = None,
    file_timeout: float | None = None,
) -> tuple[Worker[Any], Engine[Any]]:
    """Makes an engine and its worker.

    Args:
        name: One of ENGINES.
        settings: What the engine makes.
        index: The videos.
        graph_decoder: The engine "dali" decodes with this decoder in its graph; None decodes in the workers.
        store: Where the frames come from, if not from the files alone. Not together with `graph_decoder`.
        arenas: The frames of `store` that lie on the device: the engine "store" needs them, others do not use them.
        missed: Called with the row of a video, and what the store lacks of it.
        file_timeout: Seconds that a window may take, as in `Deadline`.
    """
    spec, sampler = settings.spec, settings.sampler
    common: dict[str, Any] = {"store": store, "missed": missed, "file_timeout": file_timeout}
    cuda, stage = settings.device.type == "cuda", partial(staged, device=settings.device)
    # While a thread waits for a process, the others get on: threads that decode wait for each other in Python.
    apart = cuda or min(settings.threads, cpus()) > _THREADS
    decoder: Decoder = Processes(partial(pin, device=settings.device) if cuda else None).decode if apart else decode
    if arenas is not None:
        assert store is not None, "arenas are copies of a store's frames"
        return StoredWorker(index, spec, sampler, arenas, stage=stage, **common), Stored(settings, arenas)
    if store is not None:
        decoder = store.decode
    if name == "inline":
        return AssemblingWorker(index, spec, sampler, decoder, streams=not apart, **common), Inline(settings)
    if cuda and store is not None:  # its frames lie in a mapped file, or in memory that is not pinned
        common["stage"] = stage
    if name == "eager":
        return DecodingWorker(index, spec, sampler, decoder, **common), Eager(settings)
    need_dali('engine="dali"')
    if graph_decoder is None:
        from vidssl.loader.engines.dali import FrameGraph  # imports DALI, which only this engine needs

        return DecodingWorker(index, spec, sampler, decoder, **common), FrameGraph(settings)
    from vidssl.loader.engines.dali_decode import DaliDecode

    segments = SegmentWorker(index, spec, sampler, decoder, graph_decoder, file_timeout=file_timeout)
    return segments, DaliDecode(settings, graph_decoder, segments)
