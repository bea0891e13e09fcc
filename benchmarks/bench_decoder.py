"""Decoders behind the loader: what cutting a window out of its file costs, and how many frames a second DALI's decoder
gives.

    python -m benchmarks.bench_decoder --only slice --out benchmarks/results      # any machine
    python -m benchmarks.bench_decoder --device cuda --out benchmarks/results     # NVDEC
    python -m benchmarks.bench_decoder --device cpu                               # the same sweep by DALI's software
    decoder (VP9)

slice: `cut` of a VCOP window against opening the file, and against decoding the window with PyAV, one thread. decoder:
windows of 64 frames of one clip, decoded by `decoders.video` alone; by number of threads, of slices against whole
files, and against PyAV on all cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from nvidia.dali import fn, pipeline

from benchmarks import workloads
from benchmarks.harness import Case, Result, compare, interleave, measured, report, timed
from vidssl.cpus import cpus
from vidssl.index.table import VideoIndex
from vidssl.loader.graph_decoder import SOFTWARE, GraphDecoder
from vidssl.types import VidsslError
from vidssl.video.decode import Video, decode
from vidssl.video.segment import Segment, SegmentError, cut_segment

SPAN = 64  # frames of a window
SIZES = ((240, 320), (256, 340), (720, 1280))  # height, width: 340 is no multiple of 16
LONG = 150  # frames of the largest clips
THREADS = (1, 4, 7, 14)  # a Hopper GPU has seven decoders


def windows(video: Video, count: int, seed: int = 0) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """Numbers of the frames of `count` random windows."""
    first = np.random.default_rng(seed).integers(0, video.frames - SPAN + 1, count)
    return [np.arange(at, at + SPAN) for at in first]


def clip(folder: Path, size: tuple[int, int], codec: str, quick: bool) -> Video:
    """A clip that is made to decode quickly: a key frame every 16 frames, no B-frames."""
    one = (workloads.QUICK if quick else workloads.CLIPS[2:])[0]
    frames = min(one.frames, LONG) if size[0] > 480 else one.frames
    scale = size[0] * size[1] / (320 * 240)
    one = replace(one, name=f"{codec}_{size[1]}x{size[0]}", size=size, kilobits=int(800 * scale), frames=frames)
    path = workloads.made(one, folder, codec="libx264" if codec == "h264" else "libvpx-vp9")
    return VideoIndex.build(path.parent, progress=False).video(0)


# ---- slice ----


def bench_slice(path: Path, repeats: int, out: Path | None, resume: bool = False) -> None:
    """One file: every case takes the same windows, one after the other."""
    if resume and measured("slice", path.name, out):
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        index = VideoIndex.build(folder, progress=False)
        if not len(index.usable(SPAN)):
            raise VidsslError(f"--data {path}: a window needs {SPAN} frames: {index.skipped(SPAN)[0][1]}")
        video = index.video(0)
        chosen = windows(video, 8)
        try:
            pieces = [cut_segment(video, numbers) for numbers in chosen]
        except SegmentError as error:
            print(f"slice: {path.name}: left out: {error}")
            return

        def each(work: Callable[[Any], object]) -> Case:
            return timed(lambda: [work(numbers) for numbers in chosen], items=len(chosen))

        def opened(_: Any) -> None:
            with video.open():
                pass

        cases = {
            "cut": each(lambda numbers: cut_segment(video, numbers)),
            "open and close": each(opened),
            "decode (PyAV)": each(lambda numbers: decode(video, numbers)),
        }
        spent = interleave(cases, repeats=repeats, warmup=1, title=path.name)
        size = float(np.mean([len(piece.data) for piece in pieces]))
        facts = {
            "clip": f"{video.codec} {video.size[1]}x{video.size[0]}, {video.frames} frames",
            "frames of a slice": round(float(np.mean([piece.frames for piece in pieces])), 1),
            "kB of a slice": round(size / 1e3, 1),
            "doubt": pieces[0].doubt,
        }
    report(compare("slice", path.name, spent, subject="cut", item="window", facts=facts), out)


# ---- decoder ----


class Decoder:
    """`decoders.video` and nothing else. One call decodes every piece once; frames stay on the device."""

    def __init__(self, pieces: Sequence[Segment], hardware: GraphDecoder, threads: int, batch: int) -> None:
        self.pieces, self.batch = pieces, batch
        make: Any = pipeline.Pipeline
        gpu = hardware.device == "mixed"
        self._pipeline = make(
            batch_size=batch,
            num_threads=threads,
            device_id=0 if gpu else None,
            prefetch_queue_depth=1,
            exec_dynamic=True,
        )
        with self._pipeline:
            encoded, position = (
                fn.external_source(name=name, batch=True, no_copy=True) for name in ("encoded", "position")
            )
            self._pipeline.set_outputs(
                fn.decoders.video(encoded, frames=position, device=hardware.device, pad_mode="none", affine=False)
            )
        self._pipeline.build()

    def __call__(self) -> int:
        frames = 0
        for first in range(0, len(self.pieces), self.batch):
            part = self.pieces[first : first + self.batch]
            self._pipeline.feed_input("encoded", [piece.data for piece in part])
            self._pipeline.feed_input("position", [piece.position for piece in part])
            (found,) = self._pipeline.run()
            frames += sum(shape[0] for shape in found.shape())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return frames

    def close(self) -> None:
        self._pipeline._shutdown()


def whole(video: Video, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> Segment:
    """The whole file in a slice's place."""
    every = cut_segment(video, np.arange(video.frames))
    return replace(every, position=numbers.astype(np.int32))


def bench_size(
    video: Video,
    hardware: GraphDecoder | None,
    *,
    count: int,
    threads: Sequence[int],
    cores: int,
    repeats: int,
    out: Path | None,
    resume: bool = False,
) -> None:
    """One clip: threads in turn, then slices against whole files and PyAV at the fastest of them.

    hardware: None measures only what the CPU does: cutting against PyAV.
    """
    chosen = windows(video, count)
    pieces = [cut_segment(video, numbers) for numbers in chosen]
    name = f"{video.codec} {video.size[1]}x{video.size[0]}, {hardware.name if hardware else 'no NVDEC'}"
    frames = count * SPAN
    facts: dict[str, Any] = {"windows": count, "frames a window": SPAN}
    facts["frames of a slice"] = round(float(np.mean([piece.frames for piece in pieces])), 1)
    if resume and measured("decoder", f"{name}: against", out):
        return
    with ThreadPoolExecutor(cores) as pool, ExitStack() as stack:
        cases: dict[str, Case] = {}
        if hardware:
            facts["threads"] = best = fastest(
                pieces, hardware, name, threads=threads, repeats=repeats, facts=facts, out=out
            )
            files = [whole(video, numbers) for numbers in chosen]
            for case, given in (("slices", pieces), ("whole files", files)):
                decoder = Decoder(given, hardware, best, count)
                stack.callback(decoder.close)
                cases[case] = timed(decoder, items=frames)
        cutting = f"cutting, {cores} threads"
        cases[f"PyAV, {cores} threads"] = timed(
            lambda: list(pool.map(lambda numbers: decode(video, numbers), chosen)), items=frames
        )
        cases[cutting] = timed(
            lambda: list(pool.map(lambda numbers: cut_segment(video, numbers), chosen)), items=frames
        )
        spent = interleave(cases, repeats=repeats, title=name)
    show(
        compare(
            "decoder", f"{name}: against", spent, subject="slices" if hardware else cutting, item="frame", facts=facts
        ),
        out,
    )


def fastest(
    pieces: Sequence[Segment],
    hardware: GraphDecoder,
    name: str,
    *,
    threads: Sequence[int],
    repeats: int,
    facts: dict[str, Any],
    out: Path | None,
) -> int:
    """With how many threads the pieces are decoded fastest."""
    decoders = {number: Decoder(pieces, hardware, number, len(pieces)) for number in threads}
    cases = {f"{number} threads": timed(decoder, items=len(pieces) * SPAN) for number, decoder in decoders.items()}
    spent = interleave(cases, repeats=repeats, title=name)
    best = min(threads, key=lambda number: float(np.median([one.wall for one in spent[f"{number} threads"]])))
    show(compare("decoder", f"{name}: threads", spent, subject=f"{best} threads", item="frame", facts=facts), out)
    for decoder in decoders.values():
        decoder.close()
    return best


def show(result: Result, out: Path | None) -> None:
    rates = {f"{name}, frames/s": round(1e3 / wall.median) for name, wall in result.wall.items()}
    report(replace(result, facts={**result.facts, **rates}), out)


def main(
    *,
    only: Literal["all", "slice", "decoder"] = "all",
    device: Literal["cpu", "cuda"] = "cpu",
    data: tuple[Path, ...] = (),
    made: bool = True,
    count: int = 64,
    threads: tuple[int, ...] = THREADS,
    sizes: tuple[int, ...] = (240, 256, 720),
    repeats: int = 5,
    keep: Path | None = None,
    quick: bool = False,
    resume: bool = False,
    out: Path | None = None,
) -> None:
    """Measure cutting, and DALI's decoder.

    Args:
        only: One of the two parts.
        device: Of the decoder: NVDEC, or DALI's software decoder.
        data: Video files for the first part.
        made: Cut also out of clips that are made here.
        count: Windows of a batch of the second part.
        threads: Numbers of the decoder's threads.
        sizes: Heights of the clips of the second part: 240 (x 320), 256 (x 340), 720 (x 1280).
        repeats: Rounds.
        keep: Folder that keeps the clips made here, for the next time.
        quick: Only short clips: to see that it runs.
        resume: Leave out what `out` has already, of this commit.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    known = {size[0]: size for size in SIZES}
    if set(sizes) - set(known):
        raise VidsslError(f"--sizes {sizes}: take some of {tuple(known)}")
    torch.set_num_threads(1)
    cores = cpus()
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as name:
        folder = keep or Path(name)
        if only in ("all", "slice"):
            for path in (
                *data,
                *(workloads.made(one, folder) for one in (workloads.QUICK if quick else workloads.CLIPS) if made),
            ):
                bench_slice(path, repeats, out, resume)
        if only in ("all", "decoder"):
            hardware = workloads.nvdec() if device == "cuda" else SOFTWARE
            for height in sizes:
                video = clip(folder, known[height], "h264" if device == "cuda" else "vp9", quick)
                bench_size(
                    video, hardware, count=count, threads=threads, cores=cores, repeats=repeats, out=out, resume=resume
                )


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
