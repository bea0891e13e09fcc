"""What does an index of a million videos cost to open, and to each of several processes?

    python -m benchmarks.bench_index --out benchmarks/results

One real row is repeated; nothing is decoded. Processes of their own then open the file at the same time and draw
windows of it as a loader does; what counts is their private memory, for what is mapped is shared.
"""

from __future__ import annotations

import multiprocessing
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tyro

from benchmarks import workloads
from benchmarks.harness import append, circumstances
from vidssl import VideoIndex
from vidssl.loader.sampler import Sampler


def private() -> float:
    """MiB that this process has written, which no other shares. Source: proc(5), smaps_rollup."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_Dirty:\s+(\d+) kB", text, re.MULTILINE)) / 2**10


def make(path: Path, rows: int, scratch: Path) -> int:
    """An index of `rows` rows at `path`. Returns its size in bytes."""
    workloads.encode(replace(workloads.CLIPS[0], frames=300), scratch)
    one = VideoIndex.build(scratch, progress=False)
    table = pa.concat_tables([one.table] * 1000).combine_chunks()
    VideoIndex(pa.concat_tables([table] * (rows // 1000)), one.root).save(path)
    return path.stat().st_size


def use(path: str, draws: int) -> dict[str, float]:
    """Opens an index, and draws windows of it, in this process."""
    clock = time.perf_counter
    before, began = private(), clock()
    index = VideoIndex.load(path)
    opened = clock()
    rows = index.usable(64)
    assert len(index.labels) == len(rows) == len(index)
    labelled = clock()
    frames = np.array([index.frames(int(row)) for row in rows[:1]]).repeat(len(rows))
    sampler = Sampler(rows=rows, frames=frames, span=64, seed=0, train=True)
    sampler.window(0, 0)
    shuffled = clock()
    for position in range(draws):
        assert index.video(sampler.window(0, position).video).frames == 300
    done = clock()
    return {
        "open, s": opened - began,
        "usable rows and labels, s": labelled - opened,
        "first window of an epoch, s": shuffled - labelled,
        "a video, us": 1e6 * (done - shuffled) / draws,
        "private memory, MiB": private() - before,
    }


def main(
    *, rows: int = 1_000_000, processes: tuple[int, ...] = (1, 4), draws: int = 1000, out: Path | None = None
) -> None:
    """Open a large index in several processes at a time.

    Args:
        rows: Of the index, in thousands.
        processes: That open it at the same time.
        draws: Windows that each draws.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        path, scratch = Path(folder, "index.arrow"), Path(folder, "videos")
        scratch.mkdir()
        size = make(path, rows, scratch)
        for count in processes:
            with multiprocessing.get_context("spawn").Pool(count) as pool:
                found = pool.starmap(use, [(str(path), draws)] * count, chunksize=1)
            figures = {name: float(np.median([one[name] for one in found])) for name in found[0]}
            line: dict[str, Any] = {
                "bench": "index",
                "workload": f"{rows} rows, {count} process{'es' if count > 1 else ''}",
                "file, MiB": size / 2**20,
                **figures,
                **circumstances(),
            }
            print(
                f"{line['workload']}, {size / 2**20:.0f} MiB: "
                + "; ".join(f"{name} {value:.3g}" for name, value in figures.items())
            )
            append(line, out)


if __name__ == "__main__":
    tyro.cli(main)
