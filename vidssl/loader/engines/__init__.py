"""engines: those of engine.py, by name."""

from __future__ import annotations

from collections.abc import Callable

from vidssl.loader.engines.eager import Eager
from vidssl.loader.engines.base import Engine, Setting
from vidssl.loader.worker import Fetcher
from vidssl.loader.engines.inline import Fused
from vidssl.loader.graph_decoder import Hardware


def make_engine(name: str, setting: Setting, hardware: Hardware | None = None, fetcher: Fetcher | None = None) -> Engine:
    """The engine "fused", "graph" or "eager"; hardware: "graph" with that decoder in it, which `fetcher` cuts for."""
    if hardware is None:
        return ENGINES[name](setting)
    from vidssl.loader.engines.dali_decode import HardwareEngine

    assert fetcher is not None
    return HardwareEngine(setting, hardware, fetcher)


def _graph(setting: Setting) -> Engine:
    from vidssl.loader.engines.dali import Graph  # DALI is imported where it is used

    return Graph(setting)


ENGINES: dict[str, Callable[[Setting], Engine]] = {"fused": Fused, "graph": _graph, "eager": Eager}
