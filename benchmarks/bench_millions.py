"""A million videos: what do opening, planning and resuming cost, in processor time and in memory of the one process?

    python -m benchmarks.bench_millions --data VIDEOS --out benchmarks/results

The rows are simulated: those of a real folder again and again, under other paths, which links to the folder make real.
So every path can be opened, but all lie in the cache of the system. Each step runs in a process of its own, and nothing
is decoded but by `estimate`.
"""

from __future__ import annotations

import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import tyro

from benchmarks.harness import append, circumstances
from vidssl import FrameStore, Loader, VideoIndex, estimate, split
from vidssl.index.holdout import fingerprint
from vidssl.index.journal import Journal
from vidssl.index.lists import write_list
from vidssl.index.schema import SCHEMA
from vidssl.index.table import _KEY
from vidssl.pools.local import LocalPool
from vidssl.recipes import RECIPES

RECIPE = "pace_r3d_tiny"
_RECORD = 64  # rows of a record of the journal, as `vidssl index` writes them
_WINDOWS = 10_000


class Peak(threading.Thread):
    """Most memory of this process that holds no file, MiB, while a with-block runs; looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self._ended = 0.0, threading.Event()

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.most = max(self.most, anonymous())


def anonymous() -> float:
    """MiB of memory of this process that holds no file. Source: proc(5), RssAnon."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 2**10 if found else 0.0


def make(root: Path, data: Path, rows: int) -> None:
    """Writes an index, a list and a journal of `rows` videos below `root`, whose paths lead to those of `data`."""
    one = VideoIndex.build(data, progress=False)
    one = one.select(one.usable())
    copies = -(-rows // len(one))
    for copy in range(copies):
        (root / f"{copy:06d}").symlink_to(one.root)
    paths = one.column("path").to_pylist()
    named = [f"{copy:06d}/{path}" for copy in range(copies) for path in paths][:rows]
    table = pa.concat_tables([one.table.combine_chunks()] * copies).slice(0, rows)
    table = table.set_column(0, "path", pa.array(named, pa.string())).replace_schema_metadata(None)
    write_list(root / "videos.csv", zip(named, table["label"].to_pylist(), [None] * rows, strict=True))
    with Journal(root / "journal", SCHEMA.with_metadata({_KEY: bytes(root)})) as book:
        for batch in table.cast(SCHEMA).combine_chunks().to_batches(max_chunksize=_RECORD):
            book.add([batch])
    VideoIndex(table, root).save(root / "index.arrow")


def _nothing(item: object, give: Callable[[object], None]) -> None:
    """A job that does nothing."""


def _opened(root: Path) -> VideoIndex:
    return VideoIndex.load(root / "index.arrow")


def _loader(root: Path) -> Loader:
    recipe = RECIPES[RECIPE]()
    return Loader(_opened(root), recipe.pretext, batch_size=32, device="cpu", decode="cpu", workers=1, seed=0)


def open_index(root: Path) -> None:
    """Open the index"""
    assert len(_opened(root))


def select(root: Path) -> None:
    """Usable rows, labels, and every second row"""
    index = _opened(root)
    rows = index.usable(32)
    assert len(index.labels) == len(index)
    assert len(index.select(rows[::2])) == -(-len(rows) // 2)


def hold_out(root: Path) -> None:
    """Hold out a tenth"""
    index = _opened(root)
    train, held = split(index, 0.1, seed=0)
    assert len(train) + len(held) == len(index)


def digest(root: Path) -> None:
    """Digest of the index, for a run"""
    assert fingerprint(_opened(root))


def plan(root: Path) -> None:
    """A loader, and the first 10,000 windows of an epoch"""
    with _loader(root) as loader:
        windows = [loader.sampler.window(0, position) for position in range(_WINDOWS)]
    assert len({window.video for window in windows}) == _WINDOWS


def resume(root: Path) -> None:
    """A loader that continues in the middle of an epoch"""
    with _loader(root) as loader:
        loader.load_state_dict({**loader.state_dict(), "epoch": 3, "batch": len(loader) // 2})
        assert loader.state_dict()["batch"] == len(loader) // 2


def known(root: Path) -> None:
    """`index` of a list, whose videos an index has"""
    found = VideoIndex.build(root / "videos.csv", known=_opened(root), progress=False)
    assert (found.read, len(found)) == (0, len(_opened(root)))


def journal(root: Path) -> None:
    """`index` of a list, whose videos its journal has"""
    found = VideoIndex.build(root / "videos.csv", journal=root / "journal", progress=False)
    assert (found.read, len(found)) == (0, len(_opened(root)))


def submit(root: Path) -> None:
    """Jobs that do nothing, one a video, in two threads"""
    count, done = len(_opened(root)), 0

    def items() -> Iterator[int]:
        yield from range(count)

    with LocalPool(2).start(_nothing, items(), name="nothing", file=lambda _: root) as run:
        for parts in run.parts(most=_RECORD):
            done += len(parts)
    assert done == count


def guess(root: Path) -> None:
    """`estimate` with 2 seconds of trials"""
    found = estimate(_opened(root), RECIPES[RECIPE](), seconds=2.0, sizes=["128x171", "native"], samples_per_gpu=100.0)
    assert found.videos == len(_opened(root))


def store(root: Path) -> None:
    """What an empty store lacks, and its bytes"""
    index = _opened(root)
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        frames = FrameStore(Path(folder), (36, 36))
        missing = frames.missing_of(index)
        assert int(missing.sum()) * 36 * 36 * 3 // 2 == frames.bytes_of(index)


STEPS = (open_index, select, hold_out, digest, plan, resume, known, journal, submit, guess, store)


def measure(step: Callable[[Path], None], root: Path) -> dict[str, float]:
    """Runs a step in this process: seconds, processor seconds, and MiB of memory that it takes at most."""
    before, began, used = anonymous(), time.perf_counter(), time.process_time()
    with Peak() as peak:
        step(root)
    return {
        "seconds": time.perf_counter() - began,
        "processor seconds": time.process_time() - used,
        "memory, MiB": max(peak.most, anonymous()) - before,
    }


def main(
    *, data: Path, rows: int = 1_000_000, steps: tuple[str, ...] = (), keep: Path | None = None, out: Path | None = None
) -> None:
    """Measure what a large number of rows costs the one process that plans, writes or trains.

    Args:
        data: Folder of videos whose rows are repeated; it is indexed first.
        rows: How many rows to make of them.
        steps: Functions of this file to run; none runs all.
        keep: Folder that keeps the rows made here, for the next time.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        root = Path(folder) if keep is None else keep.resolve()
        if not (root / "index.arrow").is_file():  # it is made last
            root.mkdir(parents=True, exist_ok=True)
            make(root, data.resolve(), rows)
        size = (root / "index.arrow").stat().st_size / 2**20
        for step in [step for step in STEPS if not steps or step.__name__ in steps]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found = pool.apply(measure, (step, root))
            about: dict[str, Any] = {"bench": "millions", "workload": f"{rows:,} rows: {step.__doc__}", "rows": rows}
            append({**about, "step": step.__doc__, **found, "index, MiB": size, **circumstances()}, out)
            print(f"{step.__doc__}: " + "; ".join(f"{name} {value:,.3g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
