"""Measures how fast videos load and how long each step takes, and says what would help."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from av.video.frame import VideoFrame

from vidssl.index.table import VideoIndex
from vidssl.kernels.plan import HasPlan
from vidssl.loader.engines import Engine, make_engine
from vidssl.loader.loader import Loader
from vidssl.loader.pipeline import windows_per_second
from vidssl.loader.windows import AssembledWindow, Request
from vidssl.loader.worker import Worker
from vidssl.types import VidsslError
from vidssl.video.decode import Video, decode_to
from vidssl.video.packets import PacketReader

_T = TypeVar("_T")

STEPS = {
    "open": "open and close the file",
    "demux": "read packets, from the seek point to the last frame shown",
    "decode": "make frames of them",
    "assemble": "plan, crop, resize, colour, normalise, permute",
    "hand over": "make a batch of it for the caller",
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The result of `profile`.

    Args:
        windows: Windows measured.
        workers: Worker threads of the loader.
        cores: Cores that this process may use.
        engine: Name of the loader's engine.
        rate: Windows per second of the loader in its steady state.
        steps: Milliseconds per window of each of STEPS, alone in one thread.
        read: Mean number of frames per window from the seek point to the last frame shown.
        shown: Mean number of frames per window that are shown.
        side: Mean short side of the videos in pixels.
        wanted: Short side in pixels to which they are resized.
    """

    windows: int
    workers: int
    cores: int
    engine: str
    rate: float
    steps: dict[str, float]
    read: float
    shown: float
    side: float
    wanted: int

    @property
    def binds(self) -> str:
        """The step that takes the most time."""
        return max(self.steps, key=lambda name: self.steps[name])

    def text(self) -> str:
        whole = sum(self.steps.values())
        lines = [
            f"{self.rate:.1f} windows/s, {self.workers} workers on {self.cores} cores (engine {self.engine}); "
            "alone in one thread:"
        ]
        lines += [
            f"  {name:9s} {ms:8.2f} ms a window  {100 * ms / whole:5.1f} %  {STEPS[name]}"
            for name, ms in self.steps.items()
        ]
        lines.append(
            f"  {'together':9s} {whole:8.2f} ms a window, {1e3 / whole:.1f} windows/s ({self.windows} windows)"
        )
        lines.append(
            f"{self.read:.0f} frames are read to show {self.shown:.0f}; "
            f"short side {self.side:.0f} pixels, {self.wanted} are used"
        )
        return "\n".join([*lines, f"what binds: {self.binds}", *(f"  {line}" for line in self.advice())])

    def advice(self) -> list[str]:
        """Returns what would help."""
        whole = sum(self.steps.values())
        share = {name: ms / whole for name, ms in self.steps.items()}
        said = []
        if share["demux"] + share["decode"] > 0.5:
            waste = []
            if self.read > 1.3 * self.shown:
                waste.append("frames are decoded that nobody sees")
            if self.side > 1.3 * self.wanted:
                waste.append("they are larger than is used")
            said.append(
                f"{' and '.join(waste) or 'decoding is the work itself'}: "
                "`vidssl prepare` re-encodes them once, to decode quickly"
            )
        if share["open"] > 0.2:
            said.append("opening costs much: a local disk, or several tuples of one window (tuples_per_window)")
        if share["assemble"] > 0.4:
            said.append("assembling costs much: dtype bfloat16 writes half the bytes")
        if self.workers < self.cores:
            said.append(f"{self.cores - self.workers} cores do not decode: more workers")
        if self.rate < 0.6e3 * min(self.workers, self.cores) / whole:
            said.append(
                "the workers together are far slower than so many threads alone would be: "
                "other work uses the cores, or storage or memory is the limit"
            )
        return said or ["nothing stands out; more cores would help"]


def profile(
    index: VideoIndex, pretext: HasPlan, *, workers: int | None = None, windows: int = 64, seed: int = 0
) -> Profile:
    """Loads `windows` random windows on the CPU for `pretext`, through the loader and then step by step.

    Raises:
        VidsslError: No video is long enough, or `windows` is below 1.
    """
    if windows < 1:
        raise VidsslError(f"windows={windows}: take at least 1")
    batch = _batch(index, pretext)
    with Loader(index, pretext, batch_size=batch, device="cpu", workers=workers, seed=seed) as loader:
        found = _rate(loader, -(-windows // batch), batch)
        worker, engine = make_engine(loader.engine, replace(loader.settings, windows=1, threads=1), index)
        shown = [_Window(worker, engine, epoch, position) for epoch, position in _places(loader, windows)]
        engine.close()
        return Profile(
            windows=windows,
            workers=loader.settings.threads,
            cores=len(os.sched_getaffinity(0)),
            engine=loader.engine,
            rate=found,
            steps={name: float(np.mean([one.steps[name] for one in shown])) for name in STEPS},
            read=float(np.mean([one.read for one in shown])),
            shown=float(np.mean([one.shown for one in shown])),
            side=float(np.mean([one.side for one in shown])),
            wanted=min(loader.spec.augment.resize),
        )


def rate(index: VideoIndex, pretext: HasPlan, *, workers: int, windows: int, seed: int = 0) -> float:
    """Returns the windows per second of a loader in its steady state, over about `windows` windows."""
    batch = _batch(index, pretext)
    with Loader(index, pretext, batch_size=batch, device="cpu", workers=workers, seed=seed) as loader:
        return _rate(loader, -(-windows // batch), batch)


def _batch(index: VideoIndex, pretext: HasPlan) -> int:
    return min(8, max(1, len(index.usable(pretext.plan.frames))))


def _rate(loader: Loader, count: int, size: int) -> float:
    """Returns the windows per second of `count` batches of `size`, after those that were fetched ahead of time."""
    endless = chain.from_iterable(repeat(loader))
    return windows_per_second(endless, size, warm_up=3, count=count)


def _places(loader: Loader, count: int) -> list[tuple[int, int]]:
    """Returns (epoch, position) of the first `count` windows."""
    return [divmod(at, len(loader.sampler)) for at in range(count)]


class _Window:
    """The steps of one window, each timed without the steps before it."""

    def __init__(self, worker: Worker[Any], engine: Engine[Any], epoch: int, position: int) -> None:
        worker(epoch, position, engine.output_slots(1)[0])  # so that no step pays for cold files and caches alone
        slot = engine.output_slots(1)[0]
        fetched, fetching = _clock(lambda: worker(epoch, position, slot))
        _, pushing = _clock(lambda: engine.push([fetched]))
        _, pulling = _clock(engine.pull)
        request: Request = fetched.request
        video = request.video
        _, opening = _clock(lambda: _read(video, request, packets=False))
        count, reading = _clock(lambda: _read(video, request, packets=True))
        _, decoding = _clock(lambda: decode_to(_Nowhere(), video, request.number))
        planned = isinstance(fetched, AssembledWindow)  # the workers assemble; else the engine does
        self.steps = {
            "open": opening,
            "demux": max(0.0, reading - opening),
            "decode": max(0.0, decoding - reading),
            "assemble": max(0.0, fetching - decoding) + (0.0 if planned else pulling),
            "hand over": pushing + (pulling if planned else 0.0),
        }
        self.read, self.shown, self.side = count, len(request.number), min(video.size)


class _Nowhere:
    def store(self, slot: int, frame: VideoFrame) -> None:
        """Drops the frame."""


def _read(video: Video, request: Request, *, packets: bool) -> int:
    """Opens the file, and reads the packets that decoding the window reads. Returns their number."""
    last, count = int(video.packet[request.number].max()), 0
    with PacketReader(video.path, member=video.member, container=video.container) as reader:
        if packets:
            for number, _ in reader.packets(video.points, video.points.before(int(request.number[0]))):
                if number > last:
                    break
                count += 1
    return count


def _clock(work: Callable[[], _T]) -> tuple[_T, float]:
    """Returns the result of `work`, and the milliseconds that it took."""
    began = perf_counter()
    found = work()
    return found, 1e3 * (perf_counter() - began)
