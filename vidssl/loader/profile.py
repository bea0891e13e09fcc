"""Measures how fast videos load and how long each step takes, and suggests what makes it faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, repeat
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from av.video.frame import VideoFrame

from vidssl.cpus import cpus
from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import HasPlan, Spec
from vidssl.loader.engines import Engine, make_engine
from vidssl.loader.loader import Loader
from vidssl.loader.pipeline import windows_per_second
from vidssl.loader.windows import AssembledWindow, Request
from vidssl.loader.worker import Worker
from vidssl.store.frames import FrameStore
from vidssl.types import VidsslError
from vidssl.video.decode import Video, decode_to

_T = TypeVar("_T")

STEPS = {
    "store": "finds the frames in the store, whose pages are read while they are assembled",
    "open": "opens and closes the file",
    "demux": "reads packets from the seek point to the last frame shown",
    "decode": "decodes the packets to frames",
    "assemble": "plans, crops, resizes, colours, normalises, permutes",
    "hand over": "makes the batch for the caller",
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
        steps: Milliseconds per window of each of STEPS, measured with one thread.
        read: Mean number of frames per window from the seek point to the last frame shown, or that the store gives.
        shown: Mean number of frames per window that are shown.
        side: Mean short side of the videos in pixels, as the store shows them if there is one.
        wanted: Short side in pixels to which the videos are resized.
        stored: Number of the windows that the store had; None without a store.
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
    stored: int | None = None

    @property
    def bottleneck(self) -> str:
        """The step that takes the most time."""
        return max(self.steps, key=lambda name: self.steps[name])

    def text(self) -> str:
        """Returns the result as lines of text, with suggestions."""
        total = sum(self.steps.values())
        lines = [
            f"{self.rate:.1f} windows/s, {self.workers} workers on {self.cores} cores (engine {self.engine}); "
            "measured with one thread:"
        ]
        lines += [
            f"  {name:9s} {ms:8.2f} ms per window  {100 * ms / total:5.1f} %  {STEPS[name]}"
            for name, ms in self.steps.items()
        ]
        lines.append(f"  {'total':9s} {total:8.2f} ms per window, {1e3 / total:.1f} windows/s ({self.windows} windows)")
        lines.append(
            f"frames per window: {self.read:.0f} read, {self.shown:.0f} shown; "
            f"short side in pixels: {self.side:.0f} stored, {self.wanted} used"
        )
        if self.stored is not None:
            lines.append(f"{self.stored} of {self.windows} windows were in the store")
        return "\n".join([*lines, f"bottleneck: {self.bottleneck}", *(f"  {line}" for line in self.advice())])

    def advice(self) -> list[str]:
        """Returns suggestions that make loading faster, one sentence each."""
        total = sum(self.steps.values())
        fraction = {name: ms / total for name, ms in self.steps.items()}
        lines = []
        if fraction["demux"] + fraction["decode"] > 0.5:
            waste = []
            if self.read > 1.3 * self.shown:
                waste.append("many decoded frames are not shown")
            if self.side > 1.3 * self.wanted:
                waste.append("the videos are larger than needed")
            lines.append(
                f"{' and '.join(waste) or 'decoding takes most of the time'}: "
                "re-encode the videos once with `vidssl prepare`, so that they decode faster"
            )
            if self.stored is None:
                lines.append("or keep decoded frames with `vidssl store fill`, so that no epoch decodes them again")
        if self.stored is not None and self.stored < self.windows:
            lines.append(
                f"the store lacks {self.windows - self.stored} of {self.windows} windows, which were decoded: "
                "fill it with `vidssl store fill`"
            )
        if fraction["open"] > 0.2:
            lines.append(
                "opening files takes long: use a local disk, or draw several tuples from one window (tuples_per_window)"
            )
        if fraction["assemble"] > 0.4:
            lines.append("assembling takes long: use dtype bfloat16, which writes half the bytes")
        if self.workers < self.cores:
            lines.append(f"{self.cores - self.workers} cores do not decode: use more workers")
        if self.rate < 0.6e3 * min(self.workers, self.cores) / total:
            lines.append(
                f"{self.workers} workers are far slower than the time of one thread predicts: "
                "other work uses the cores, or storage or memory is the limit"
            )
        return lines or ["no step is unusually slow; more cores would help"]


def profile(
    index: VideoIndex,
    pretext: HasPlan | Spec,
    *,
    workers: int | None = None,
    windows: int = 64,
    seed: int = 0,
    store: FrameStore | None = None,
) -> Profile:
    """Loads random windows on the CPU, first with the loader and then step by step.

    Args:
        index: The videos.
        pretext: The pretext whose plan the windows follow, or the PlanSpec of another task.
        workers: Threads that decode. None uses one for each core.
        windows: Number of windows to load.
        seed: Seed of the windows.
        store: Has frames that need no decoding. Give it limit=0: keeping the others takes time too.

    Returns:
        The rate of the loader and the time of each step.

    Raises:
        VidsslError: No video is long enough, or `windows` is below 1.
    """
    if windows < 1:
        raise VidsslError(f"windows={windows}: take at least 1")
    batch = _batch(index, pretext)
    with Loader(index, pretext, batch_size=batch, device="cpu", workers=workers, seed=seed, store=store) as loader:
        found = _rate(loader, -(-windows // batch), batch)
        worker, engine = make_engine(loader.engine, replace(loader.settings, windows=1, threads=1), index, store=store)
        shown = [_Window(worker, engine, loader, epoch, position) for epoch, position in _positions(loader, windows)]
        engine.close()
        return Profile(
            windows=windows,
            workers=loader.settings.threads,
            cores=cpus(),
            engine=loader.engine,
            rate=found,
            steps={name: float(np.mean([one.steps[name] for one in shown])) for name in shown[0].steps},
            read=float(np.mean([one.read for one in shown])),
            shown=float(np.mean([one.shown for one in shown])),
            side=float(np.mean([one.side for one in shown])),
            wanted=min(loader.spec.augment.surely),
            stored=None if store is None else sum(one.kept for one in shown),
        )


def rate(index: VideoIndex, pretext: HasPlan | Spec, *, workers: int, windows: int, seed: int = 0) -> float:
    """Returns the windows per second of a loader in its steady state, over about `windows` windows."""
    batch = _batch(index, pretext)
    with Loader(index, pretext, batch_size=batch, device="cpu", workers=workers, seed=seed) as loader:
        return _rate(loader, -(-windows // batch), batch)


def _batch(index: VideoIndex, pretext: HasPlan | Spec) -> int:
    spec = pretext if isinstance(pretext, Spec) else pretext.plan
    return min(8, max(1, len(index.usable(spec.frames))))


def _rate(loader: Loader, count: int, size: int) -> float:
    """Returns the windows per second of `count` batches of `size`, measured after the prefetched batches."""
    endless = chain.from_iterable(repeat(loader))
    return windows_per_second(endless, size, warm_up=3, count=count)


def _positions(loader: Loader, count: int) -> list[tuple[int, int]]:
    """Returns (epoch, position) of the first `count` windows."""
    return [divmod(at, len(loader.sampler)) for at in range(count)]


class _Window:
    """The time of each step of one window, without the steps before it."""

    def __init__(self, worker: Worker[Any], engine: Engine[Any], loader: Loader, epoch: int, position: int) -> None:
        worker(epoch, position, engine.output_slots(1)[0])  # warms files and caches, so that all steps find them warm
        slot = engine.output_slots(1)[0]
        fetched, fetching = _clock(lambda: worker(epoch, position, slot))
        _, pushing = _clock(lambda: engine.push([fetched]))
        _, pulling = _clock(engine.pull)
        request: Request = fetched.request
        video, window, store = request.video, request.window, loader.store
        self.kept = request.kept is not None
        self.side = min(video.size if store is None else store.size_of(video))
        self.read, self.shown = window.span, len(request.number)
        if self.kept and request.plan is not None and not loader.spec.needs_motion:  # the store gives the whole window
            self.shown = len(np.unique(request.plan.frame))
        finding = opening = reading = decoding = 0.0
        if store is not None:
            _, finding = _clock(lambda: store.read(video, window.first, window.span))
        if not self.kept:
            _, opening = _clock(lambda: _read(video, request, packets=False))
            self.read, reading = _clock(lambda: _read(video, request, packets=True))
            _, decoding = _clock(lambda: decode_to(_Nowhere(), video, request.number))
        planned = isinstance(fetched, AssembledWindow)  # the workers assemble, otherwise the engine
        steps = {
            "store": finding,
            "open": opening,
            "demux": max(0.0, reading - opening),
            "decode": max(0.0, decoding - reading),
            "assemble": max(0.0, fetching - finding - decoding) + (0.0 if planned else pulling),
            "hand over": pushing + (pulling if planned else 0.0),
        }
        self.steps = {name: time for name, time in steps.items() if name != "store" or store is not None}


class _Nowhere:
    def store(self, slot: int, frame: VideoFrame) -> None:
        """Drops the frame."""


def _read(video: Video, request: Request, *, packets: bool) -> int:
    """Opens the file and, if `packets`, reads the packets that the window needs. Returns their number."""
    last, count = int(video.packet[request.number].max()), 0
    with video.open() as reader:
        if packets:
            for number, _ in reader.packets(video.points, video.points.before(int(request.number[0]))):
                if number > last:
                    break
                count += 1
    return count


def _clock(work: Callable[[], _T]) -> tuple[_T, float]:
    """Returns the result of `work` and its duration in milliseconds."""
    began = perf_counter()
    found = work()
    return found, 1e3 * (perf_counter() - began)
