"""The loader on the CPU against PyAV that only decodes: it converts, crops and normalises nothing, and hands nothing
over.

    python -m benchmarks.bench_loader --data ../shared/data/clips/bikes.mp4 --out benchmarks/results

Both read the same windows of one clip: the loader makes batches of VCOP tuples of them; PyAV opens the file for each
window, seeks to the key frame before it and decodes every frame from there to the window's last one, by threads and by
processes of its own.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import tyro

from benchmarks import workloads
from benchmarks.harness import Case, Spent, Stopwatch, compare, interleave, measured, report
from vidssl import Loader, VideoIndex
from vidssl.loader.choose_decoder import Decode
from vidssl.loader.profile import profile
from vidssl.loader.sampler import Sampler
from vidssl.types import VidsslError, Window
from vidssl.video.packets import open_container

WARMUP = 3  # batches of an epoch before the clock starts: by then the loader waits for its decoders
PRETEXT = workloads.pretext()


class Piece(NamedTuple):
    """What bare PyAV decodes for one window: `frames` frames from the key frame at `timestamp` (0 and below the first:
    no seek) on.
    """

    path: str
    timestamp: int | None
    frames: int


def piece(index: VideoIndex, window: Window) -> Piece:
    video = index.video(window.video)
    point = video.points.before(window.first)
    timestamp = int(video.points.timestamp[point]) if point else None
    return Piece(str(video.path), timestamp, window.first + window.span - int(video.points.frame[point]))


def bare(piece: Piece) -> float:
    """Decodes a piece with PyAV, one thread. Returns processor seconds. Raises VidsslError where frames are missing."""
    began, count = time.thread_time(), 0
    with open_container(piece.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count, stream.codec_context.thread_type = 1, "NONE"
        if piece.timestamp is not None:
            container.seek(piece.timestamp, stream=stream)
        for count, _ in enumerate(container.decode(stream), start=1):
            if count == piece.frames:
                break
    if count < piece.frames:
        raise VidsslError(
            f"{piece.path}: bare decoding gave {count} of {piece.frames} frames from timestamp {piece.timestamp} on"
        )
    return time.thread_time() - began


class Windows:
    """The loader's windows of a clip: round r (warm-up rounds are below 0) is one epoch of `batches` timed batches,
    after WARMUP others.
    """

    def __init__(self, index: VideoIndex, sampler: Sampler, batch_size: int, batches: int, warmup: int) -> None:
        self.index, self.sampler, self.batch_size, self.batches, self.warmup = (
            index,
            sampler,
            batch_size,
            batches,
            warmup,
        )

    @property
    def count(self) -> int:
        return self.batches * self.batch_size

    def epoch(self, turn: int) -> int:
        return turn + self.warmup

    def timed(self, turn: int) -> list[Window]:
        first = WARMUP * self.batch_size
        return [self.sampler.window(self.epoch(turn), position) for position in range(first, first + self.count)]


def loader_case(loader: Loader, windows: Windows) -> Callable[[int], Spent]:
    def case(turn: int) -> Spent:
        loader.set_epoch(windows.epoch(turn))
        batches = chain.from_iterable(repeat(loader))  # an epoch may be shorter than a round
        for _ in range(WARMUP):
            next(batches)
        with Stopwatch() as watch:
            shown = [next(batches).video for _ in range(windows.batches)]
            if loader.device.type == "cuda":
                torch.cuda.synchronize(loader.device)
        loader.set_epoch(windows.epoch(turn + 1))  # what was running ahead is called off
        time.sleep(0.1)  # and what could not be ends before the next case begins
        assert sum(len(video) for video in shown) == windows.count
        return watch.per(windows.count)

    return case


def bare_case(pool: Executor | None, windows: Windows) -> Callable[[int], Spent]:
    """pool: None decodes in this thread."""

    def case(turn: int) -> Spent:
        pieces = [piece(windows.index, window) for window in windows.timed(turn)]
        with Stopwatch() as watch:
            processor: Iterable[float] = map(bare, pieces) if pool is None else pool.map(bare, pieces)
            seconds = sum(processor)
        return Spent(watch.wall / windows.count, seconds / windows.count)

    return case


def pools(workers: int) -> dict[str, Executor]:
    return {
        "threads": ThreadPoolExecutor(workers),
        "processes": ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")),
    }


def stages(index: VideoIndex, windows: Windows, turn: int) -> dict[str, float]:
    """Milliseconds a sample of bare decoding, and of each of the loader's steps, in one thread, nothing overlapping."""
    shown = windows.timed(turn)
    with Stopwatch() as watch:
        for window in shown:
            bare(piece(index, window))
    steps = profile(index, PRETEXT, workers=1, windows=windows.count).steps
    return {name: round(ms, 3) for name, ms in {"bare decode": 1e3 * watch.wall / len(shown), **steps}.items()}


def about(index: VideoIndex, windows: Windows) -> dict[str, object]:
    """What the clip is, and how much of it a window costs."""
    row = index.table.slice(0, 1).to_pylist()[0]
    pieces = [piece(index, window) for window in windows.timed(0)]
    rate = 8e-3 * row["bytes"] * row["frame_rate"] / row["frames"] if row["frame_rate"] else 0
    return {
        "clip": f"{row['codec']} {row['width']}x{row['height']}, {row['frames']} frames, {rate:.0f} kb/s",
        "frames decoded bare": round(float(np.mean([p.frames for p in pieces])), 1),
        "frames shown": len(np.unique(PRETEXT.plan.arrangements)),
    }


def bench_gpu(
    path: Path,
    scratch: Path,
    *,
    workers: int,
    repeats: int,
    batches: int,
    batch_size: int,
    out: Path | None,
    resume: bool,
) -> None:
    """One clip, one number of workers: batches on the GPU, decoded there and by the CPU, against a bound, PyAV that
    only decodes.

    NVDEC is left out where it cannot be had, or fails on the clip; the facts say why.
    """
    warmup, name = 1, f"{path.name}, on the GPU, {workers} workers, batch {batch_size}"
    if resume and measured("loader_gpu", name, out):
        return
    index = workloads.repeated(path, (WARMUP + batches) * batch_size, scratch)
    with ExitStack() as stack:
        cases: dict[str, Case] = {}
        decodes: tuple[Decode, ...] = ("nvdec", "cpu")
        left_out: dict[str, str] = {}
        for decode in decodes:
            try:
                loader = stack.enter_context(
                    Loader(
                        index,
                        PRETEXT,
                        batch_size=batch_size,
                        device="cuda",
                        decode=decode,
                        workers=workers,
                        seed=0,
                        dtype="bfloat16",
                    )
                )
                next(iter(loader))
            except (VidsslError, RuntimeError) as error:  # RuntimeError: of DALI
                if decode == "cpu":
                    raise
                print(f"left out, {name}: decode={decode}: {error}")
                left_out[decode] = str(error)
                continue
            windows = Windows(index, loader.sampler, batch_size, batches, warmup)
            cases[f"vidssl, {decode}"] = loader_case(loader, windows)
        for kind, pool in pools(workers).items():
            cases[f"bare PyAV, {workers} {kind}"] = bare_case(stack.enter_context(pool), windows)
        spent = interleave(cases, repeats=repeats, warmup=warmup, title=name)
        facts = {
            **about(index, windows),
            "batch": batch_size,
            "device": torch.cuda.get_device_name(),
            "left out": left_out,
        }
    subject = next(iter(cases))
    result = compare("loader_gpu", name, spent, subject=subject, item="sample", facts=facts)
    rates = {f"{case}, samples/s": round(1e3 / wall.median, 1) for case, wall in result.wall.items()}
    report(replace(result, facts={**facts, **rates}), out)


def bench(
    path: Path,
    scratch: Path,
    *,
    workers: int,
    repeats: int,
    batches: int,
    batch_size: int,
    out: Path | None,
    resume: bool,
) -> None:
    """One clip, one number of workers."""
    warmup, name = 1, f"{path.name}, {workers} worker{'s' if workers > 1 else ''}"
    if resume and measured("loader", name, out):
        return
    index = workloads.repeated(path, (WARMUP + batches) * batch_size, scratch)
    if not len(index.usable(PRETEXT.plan.frames)):
        reason = index.skipped(PRETEXT.plan.frames)[0][1]
        raise VidsslError(f"--data {path}: a VCOP tuple needs {PRETEXT.plan.frames} frames: {reason}")
    with ExitStack() as stack:
        loader = stack.enter_context(
            Loader(index, PRETEXT, batch_size=batch_size, device="cpu", workers=workers, seed=0)
        )
        windows = Windows(index, loader.sampler, batch_size, batches, warmup)
        cases = {"vidssl loader": loader_case(loader, windows)}
        if workers == 1:
            cases["bare PyAV, 1 thread"] = bare_case(None, windows)
        else:
            for kind, pool in pools(workers).items():
                cases[f"bare PyAV, {workers} {kind}"] = bare_case(stack.enter_context(pool), windows)
        spent = interleave(cases, repeats=repeats, warmup=warmup, title=name)
        facts = {
            **about(index, windows),
            "batch": batch_size,
            "ms a sample, one thread, no overlap": stages(index, windows, repeats),
        }
    report(compare("loader", name, spent, subject="vidssl loader", item="sample", facts=facts), out)


def clips(data: Iterable[Path], made: Iterable[workloads.Clip], folder: Path) -> Iterator[Path]:
    """The files named, and clips made in `folder`. Raises VidsslError where one is no file."""
    for path in data:
        if not path.is_file():
            raise VidsslError(f"--data {path}: no such file; name video files")
        yield path
    yield from (workloads.made(clip, folder) for clip in made)


def main(
    *,
    data: tuple[Path, ...] = (),
    made: bool = True,
    only: tuple[str, ...] = (),
    out: Path | None = None,
    workers: tuple[int, ...] = (1, 2),
    repeats: int = 9,
    batches: int = 4,
    batch_size: int = 8,
    device: Literal["cpu", "cuda"] = "cpu",
    keep: Path | None = None,
    quick: bool = False,
    resume: bool = False,
) -> None:
    """Measure the loader on the CPU against bare decoding with PyAV; or on a GPU, decoding there and by the CPU.

    Args:
        data: Video files of at least 64 frames to measure, each on its own.
        made: Measure also clips that are made here.
        only: Only these of the clips that are made here, by their names; none takes all.
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        workers: Numbers of the loader's workers, and of PyAV's threads and processes.
        repeats: Rounds; each runs every case once.
        batches: Batches that a case of a round takes, after those that bring the loader to its steady state.
        batch_size: Tuples of a batch.
        device: Of the loader.
        keep: Folder that keeps the clips made here, for the next time.
        quick: Only a short clip: to see that it runs.
        resume: Leave out what `out` has already, of this commit.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise VidsslError("--device cuda: torch sees no CUDA device; take --device cpu")
    known = workloads.QUICK if quick else workloads.CLIPS
    if unknown := set(only) - {clip.name for clip in known}:
        raise VidsslError(f"--only {' '.join(sorted(unknown))}: take {', '.join(clip.name for clip in known)}")
    torch.set_num_threads(1)
    measure = bench if device == "cpu" else bench_gpu
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        chosen = [clip for clip in known * made if not only or clip.name in only]
        for at, path in enumerate(clips(data, chosen, keep or Path(folder))):
            for count in workers:
                scratch = Path(folder) / f"{at}-{count}"
                measure(
                    path,
                    scratch,
                    workers=count,
                    repeats=repeats,
                    batches=batches,
                    batch_size=batch_size,
                    out=out,
                    resume=resume,
                )


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
