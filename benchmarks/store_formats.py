"""The store against frame stores that people could have today (frame_stores.py), made into the same batches.

Each of them is read by threads, straight into the batch's memory, and by the processes of torch's DataLoader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from benchmarks.bench_loader import PRETEXT, WARMUP, Windows, loader_case
from benchmarks.bench_peers import in_processes
from benchmarks.frame_stores import CROP, FORMATS, LENGTH, Cut, Pictures, cut, finish, missing, opened
from benchmarks.harness import Case, Spent, Stopwatch, compare, interleave, measured, report
from benchmarks.stores import SMALL, Settings, about, floats, truth
from vidssl import FrameStore, Loader, VideoIndex

BENCH, OURS = "store_formats", "vidssl, 128x171"
BOUND = (
    "RGB in a memory map"  # also with batches whose memory is used again, as vidssl's loader does and torch's does not
)


class Cuts(Dataset[tuple[torch.Tensor, float]]):
    """Cuts in, tuples out, of a frame store."""

    def __init__(self, name: str, folder: Path, frames: int) -> None:
        self.name, self.folder, self.frames = name, folder, frames

    def __getitem__(self, one: Any) -> tuple[torch.Tensor, float]:
        torch.set_num_threads(1)
        with Stopwatch() as watch:
            made = self.fill(one, torch.empty(3, 3, LENGTH, CROP, CROP))
        return made, watch.cpu

    def fill(self, one: Cut, out: torch.Tensor) -> torch.Tensor:
        return finish(opened(self.name, self.folder, self.frames)(one.video, one.starts), one.corners, out)

    def in_threads(
        self, pool: Executor, size: int, memory: Callable[[], torch.Tensor], cuts: Sequence[Cut]
    ) -> Iterator[tuple[torch.Tensor, float]]:
        """Batches in what `memory` returns; two are made ahead."""

        def begin(at: int) -> tuple[torch.Tensor, list[Any]]:
            batch = memory()
            return batch, [pool.submit(self.fill, *both) for both in zip(cuts[at : at + size], batch, strict=True)]

        ahead = [begin(at) for at in range(0, min(2 * size, len(cuts)), size)]
        for at in range(2 * size, len(cuts) + 2 * size, size):
            batch, jobs = ahead.pop(0)
            for job in jobs:
                job.result()
            if at < len(cuts):
                ahead.append(begin(at))
            yield batch, 0.0


def case_of(stream: Callable[[Sequence[Any]], Iterator[Any]], windows: Windows, videos: int) -> Case:
    """Batches after the warm-up ones, as of the loader."""

    def case(turn: int) -> Spent:
        numbers = range(WARMUP * windows.batch_size + windows.count)
        shown = [windows.sampler.window(windows.epoch(turn), number) for number in numbers]
        batches = stream([cut(window.video % videos, window.position, window.first) for window in shown])
        for _ in range(WARMUP):
            next(batches)
        spent = 0.0
        with Stopwatch() as watch:
            for batch, seconds in batches:
                assert batch.shape[1:] == (3, 3, LENGTH, CROP, CROP)
                spent += float(torch.as_tensor(seconds).sum())
        return Spent(watch.wall / windows.count, (watch.cpu + spent) / windows.count)

    return case


def formats(path: Path, settings: Settings, workers: int) -> None:
    """One clip, kept by us, at 128 x 171 and native, and by the others. "error": mean, in grey levels."""
    title = f"{path.name}, {workers} worker{'s' if workers > 1 else ''}"
    if settings.resume and measured(BENCH, title, settings.out):
        return
    store, videos = settings.filled([path], SMALL, "small")
    native = FrameStore(settings.folder / "native-store", "native", backend="file")
    native.fill(videos, progress=False)
    frames, index = videos.frames(0), settings.long(videos, PRETEXT.plan.frames)
    exact = truth(videos, frames)
    facts: dict[str, Any] = about(store, videos) | {"left out": {}, "error": {}, "bytes a frame of each": {}}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        make = partial(Loader, index, PRETEXT, batch_size=settings.batch_size, device="cpu", workers=workers, seed=0)
        fresh = partial(torch.empty, settings.batch_size, 3, 3, LENGTH, CROP, CROP)
        cases: dict[str, Case] = {}
        for ours, held in ((OURS, store), ("vidssl, native", native)):
            loader = stack.enter_context(make(store=held))
            windows = settings.windows(loader, fast=True)
            cases[ours] = loader_case(loader, windows)
            kept = held.read(videos.video(0), 0, frames)
            assert kept is not None
            facts["error"][ours] = round(float(np.abs(floats(kept) - exact).mean()), 3)
            facts["bytes a frame of each"][ours] = kept.data[0].nbytes
        for name in FORMATS:
            if absent := missing(name):
                print(f"left out, {name}: not installed: {', '.join(absent)}")
                facts["left out"][name] = f"not installed: {', '.join(absent)}"
                continue
            cuts, size = written(name, np.rint(exact).clip(0, 255).astype(np.uint8), videos, settings.folder)
            shown = [opened(name, cuts.folder, frames)(0, (start,))[0] for start in (0, 24, 48)]
            truths = [exact[start : start + LENGTH] for start in (0, 24, 48)]
            facts["error"][name] = round(float(np.abs(np.stack(shown) - np.stack(truths)).mean()), 3)
            facts["bytes a frame of each"][name] = round(size / len(videos) / frames)
            threads = partial(cuts.in_threads, pool, settings.batch_size, fresh)
            cases[f"{name}, threads"] = case_of(threads, windows, len(videos))
            if name == BOUND:
                again = cycle([fresh() for _ in range(4)])
                threads = partial(cuts.in_threads, pool, settings.batch_size, again.__next__)
                cases[f"{name}, threads, memory used again"] = case_of(threads, windows, len(videos))
            processes = in_processes(cuts, workers, settings.batch_size)
            cases[f"{name}, processes"] = case_of(processes, windows, len(videos))
        spent = interleave(cases, repeats=settings.repeats, title=title)
    report(compare(BENCH, title, spent, subject=OURS, item="sample", facts=facts), settings.out)


def written(name: str, pictures: Pictures, videos: VideoIndex, scratch: Path) -> tuple[Cuts, int]:
    """A frame store with these pictures for each video, and its bytes on the disk."""
    folder = scratch / f"format-{list(FORMATS).index(name)}"
    folder.mkdir()
    FORMATS[name].write(folder, pictures, len(videos))
    size = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    return Cuts(name, folder, len(pictures)), size
