"""The engines, by name, each with the worker that fetches the kind of window it takes.

| file | takes | makes |
|---|---|---|
| base.py | | what all of them share |
| inline.py | AssembledWindow | nothing is left to do: the workers wrote the batch |
| eager.py | DecodedWindow | motion, plan and assemble, called one by one |
| dali.py | DecodedWindow or SegmentWindow | the same as one DALI graph |
| dali_decode.py | DecodedWindow and SegmentWindow, mixed | two such graphs, one with a decoder in it |
"""

from __future__ import annotations

from functools import partial
from typing import Any

from vidssl.index.table import VideoIndex
from vidssl.loader.buffers import pinned
from vidssl.loader.engines.base import Engine, Settings
from vidssl.loader.engines.eager import Eager
from vidssl.loader.engines.inline import Inline
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.worker import AssemblingWorker, DecodingWorker, SegmentWorker, Worker
from vidssl.video.decode import decode

ENGINES = ("inline", "dali", "eager")


def make_engine(
    name: str,
    settings: Settings,
    index: VideoIndex,
    graph_decoder: GraphDecoder | None = None,
    *,
    file_timeout: float | None = None,
) -> tuple[Worker[Any], Engine[Any]]:
    """The engine `name` of ENGINES, and its worker.

    graph_decoder: "dali" with this decoder in the graph. file_timeout: seconds that a window may take, as in
    `Deadline`.
    """
    spec, sampler = settings.spec, settings.sampler
    if name == "inline":
        return AssemblingWorker(index, spec, sampler, file_timeout=file_timeout), Inline(settings)
    decoder = partial(decode, allocate=pinned) if settings.device.type == "cuda" else decode
    if name == "eager":
        return DecodingWorker(index, spec, sampler, decoder, file_timeout=file_timeout), Eager(settings)
    if graph_decoder is None:
        from vidssl.loader.engines.dali import FrameGraph  # DALI is imported where it is used

        return DecodingWorker(index, spec, sampler, decoder, file_timeout=file_timeout), FrameGraph(settings)
    from vidssl.loader.engines.dali_decode import DaliDecode

    worker = SegmentWorker(index, spec, sampler, decoder, graph_decoder, file_timeout=file_timeout)
    return worker, DaliDecode(settings, graph_decoder, worker)
