"""What processes that use one store at a time have in memory: what is theirs alone, and their part of what they share.

Two of them are the ranks of one run, the other two are runs with other seeds.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench_loader import PRETEXT
from benchmarks.harness import append, circumstances, measured
from benchmarks.stores import SMALL, Settings, about
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.store.shard import ENDING

SETTLED = 5  # epochs after which every buffer has been in use
ROLES = (("rank 0 of 2", 0, 0, 2), ("rank 1 of 2", 0, 1, 2), ("a run", 1, 0, 1), ("another run", 2, 0, 1))


def mebibytes(text: str, field: str) -> float:
    return sum(int(kib) for kib in re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)) / 2**10


def in_memory() -> dict[str, float]:
    """MiB of this process. Source: proc(5), smaps_rollup and smaps."""
    whole, parts = (Path(f"/proc/self/{name}").read_text() for name in ("smaps_rollup", "smaps"))
    mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", parts, flags=re.MULTILINE)
    shards = "".join(mapping for mapping in mappings if ENDING in mapping.partition("\n")[0])
    private = mebibytes(whole, "Private_Dirty") + mebibytes(whole, "Private_Clean")
    return {
        "private": private - mebibytes(shards, "Private_Dirty") - mebibytes(shards, "Private_Clean"),
        "PSS": mebibytes(whole, "Pss"),
        "shards, RSS": mebibytes(shards, "Rss"),
        "shards, PSS": mebibytes(shards, "Pss"),
        "shards, written to": mebibytes(shards, "Private_Dirty"),
    }


def use(
    role: tuple[str, int, int, int], index: Path, folder: Path, size: int, epochs: int, meet: Any, told: Any
) -> None:
    """Loads epoch after epoch in this process, and tells what it had in memory while all others did the same."""
    torch.set_num_threads(1)
    name, seed, rank, ranks = role
    seen, private = [], []
    with Loader(
        VideoIndex.load(index),
        PRETEXT,
        batch_size=size,
        device="cpu",
        workers=1,
        seed=seed,
        rank=rank,
        world_size=ranks,
        store=FrameStore(folder, SMALL, backend="file"),
    ) as loader:
        for epoch in range(epochs):
            for _ in loader:
                pass
            private.append(round(in_memory()["private"], 1))
            if epoch + 1 in (SETTLED, epochs):
                meet.wait(300)
                seen.append({key: round(value, 1) for key, value in in_memory().items()})
                meet.wait(300)
        stored = loader.stats["stored"] / loader.stats["windows"]
        told.put((name, {"settled": seen[0], "last": seen[-1], "private by epoch": private, "from the store": stored}))


def memory(paths: Sequence[Path], settings: Settings, epochs: int) -> None:
    """Each process alone on the store would map all of it; together they share it."""
    title = f"{len(ROLES)} processes, 1 worker each"
    if settings.resume and measured("store_memory", title, settings.out):
        return
    store, videos = settings.filled(paths, SMALL, "memory", least=4)
    assert store.folder is not None
    file = settings.folder / "memory-videos" / "index.arrow"
    settings.long(videos, PRETEXT.plan.frames).save(file)
    spawn = multiprocessing.get_context("spawn")
    meet, told = spawn.Barrier(len(ROLES)), spawn.Queue()
    processes = [
        spawn.Process(target=use, args=(role, file, store.folder, settings.batch_size, epochs, meet, told), daemon=True)
        for role in ROLES
    ]
    for process in processes:
        process.start()
    found: list[tuple[str, dict[str, Any]]] = sorted(told.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    line = {
        "bench": "store_memory",
        "workload": title,
        "epochs": epochs,
        "processes": dict(found),
        "facts": about(store, videos),
        **circumstances(),
    }
    for name, about_it in found:
        print(f"{name}: MiB {about_it}")
    append(line, settings.out)
