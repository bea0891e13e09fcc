"""Takes the pool that an engine names."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from vidssl.cpus import cpus
from vidssl.pools.base import Engine, Pool
from vidssl.pools.local import LocalPool
from vidssl.types import VidsslError


def open_pool(where: str, engine: Engine, workers: int | None) -> AbstractContextManager[Pool]:
    """Return a pool, which works until its context ends.

    Args:
        where: What it works for; error messages begin with it.
        engine: "local": threads of this process. "ray": the nodes of a Ray cluster.
        workers: Videos at a time. None takes one for each core.

    Raises:
        VidsslError: There is no such engine, or its cluster cannot be used.
    """
    if engine == "local":
        return nullcontext(LocalPool(workers or cpus()))
    if engine == "ray":
        from vidssl.pools.cluster import RayPool

        return RayPool(where, workers)
    raise VidsslError(f"{where}: engine={engine!r}: take local or ray")
