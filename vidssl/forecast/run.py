"""Puts trials and facts together, for the cores and GPUs that are asked about."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import torch

from vidssl.checks import is_real, is_whole
from vidssl.cpus import cpus
from vidssl.forecast.figures import AS_THEY_ARE, PREPARED, Estimate, Figure, Source
from vidssl.forecast.look import Look, Spent, look
from vidssl.forecast.measure import Trial, keep_frames, load_rate, re_encode, step_rate
from vidssl.index.table import VideoIndex
from vidssl.memory import available_bytes
from vidssl.store.choose import PART
from vidssl.store.device import free_bytes
from vidssl.store.frames import FrameStore, Size, parse_size
from vidssl.store.writer import room_on_disk
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

SECONDS = 20.0
_TRIALS = 7  # that share the seconds: read, re-encode, keep, load in three ways, train
_SHARED = Path("/dev/shm")  # a disk in memory
_COUNTS = ("gpus", "gpus_per_node", "cores")
_LONGEST = 86400  # seconds of the trials


def estimate(
    data: VideoIndex | str | os.PathLike[str],
    recipe: Recipe,
    *,
    gpus: int = 1,
    gpus_per_node: int = 8,
    cores: int | None = None,
    samples_per_gpu: float | None = None,
    gpu_memory: int | None = None,
    sizes: Sequence[str] = (),
    disk: str | os.PathLike[str] = ".",
    seconds: float = SECONDS,
    seed: int = 0,
    allow_outside: bool = False,
) -> Estimate:
    """Estimates what a data set will cost and what training on it waits for, by short trials on a few of its videos.

    Nothing is written but temporary files, and no index is made: without one, the figures are those of a sample.

    Args:
        data: An index, or its file; a folder, a list or a shard. Each may be a URL.
        recipe: Its task decides what a sample is and how long videos have to be; its encoder is what a GPU trains.
        gpus: GPUs to train on.
        gpus_per_node: GPUs of a node, if there are more than one node.
        cores: Cores of a node. None takes those of this machine.
        samples_per_gpu: Samples (tuples) per second that a GPU trains on. None measures it on the GPU of this machine.
        gpu_memory: Bytes of memory of a GPU. None takes what the GPU of this machine has available.
        sizes: Sizes of a store: HEIGHTxWIDTH, or native. The recipe's own comes first in any case.
        disk: A folder on the disk where frames or prepared videos would be.
        seconds: How long all trials take, about. Each finishes the video that it has begun.
        seed: Decides which videos are looked at.
        allow_outside: Also accept an index that names files outside of its root.

    Raises:
        VidsslError: An argument is out of range, there are no videos that the task can use, or none can be read.
    """
    _check(
        gpus=gpus,
        gpus_per_node=gpus_per_node,
        cores=cores,
        samples_per_gpu=samples_per_gpu,
        gpu_memory=gpu_memory,
        seconds=seconds,
    )
    size = _size_of(recipe)
    named = list(dict.fromkeys([FrameStore(None, size).size_text, *sizes]))
    stores = {f"a store of {text}": FrameStore(None, parse_size(text)) for text in named}
    stored = next(iter(stores))
    folder = Path(disk)
    if not folder.is_dir():
        raise VidsslError(f"estimate: disk={str(disk)!r}: no such folder; name one on the disk to ask about")
    share, began, used = seconds / _TRIALS, perf_counter(), process_time()
    seen = look(data, recipe.pretext.plan.frames, share, seed=seed, allow_outside=allow_outside)
    with TemporaryDirectory(prefix="vidssl-estimate-") as scratch:
        made = re_encode(seen, Path(scratch), share)
        store = FrameStore(Path(scratch, "store"), size)
        kept = keep_frames(seen, store, share)
        busy = (process_time() - used) / (perf_counter() - began)
        shown = None if recipe.store_size == "none" else size
        loads = {
            AS_THEY_ARE: _rate(lambda: load_rate(seen.index, recipe, shown, share)),
            PREPARED: _rate(lambda: load_rate(made.videos, recipe, shown, share)),
            stored: _rate(lambda: load_rate(kept.videos, recipe, size, share, store)),
        }
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
    source: Source = "from the index" if seen.whole else "from a sample"
    return Estimate(
        data=str(data.root if isinstance(data, VideoIndex) else data),
        videos=seen.videos,
        looked=seen.looked,
        failed=seen.failed,
        usable=Figure(value=round(seen.videos * len(seen.index.usable()) / len(seen.index)), source=source),
        frames=Figure(value=round(_sum(seen, "frames")), source=source),
        seconds=perf_counter() - began,
        share=busy,
        cores_here=cpus(),
        cores=cores or cpus(),
        gpus=gpus,
        gpus_per_node=min(gpus, gpus_per_node),
        work={
            "index": _hours(seen, seen.spent),
            "prepare": _hours(seen, made.spent, made.reason),
            f"fill {stored}": _hours(seen, kept.spent, kept.reason),
        },
        sizes=_sizes(seen, made, stores, source),
        rooms=_rooms(device, gpu_memory, folder),
        loads=loads,
        wanted=_wanted(seen, recipe, samples_per_gpu, device, share),
        stored=stored,
    )


def _check(**options: object) -> None:
    """Raises VidsslError if a number is out of range."""
    for name, good, fix in (
        *((name, is_whole(options[name], 1, 2**31), "take a whole number, at least 1") for name in _COUNTS),
        ("seconds", is_real(options["seconds"], 1e-3, _LONGEST), f"take a number of seconds, at most {_LONGEST}"),
        ("samples_per_gpu", is_real(options["samples_per_gpu"], 1e-9, 1e12), "take samples a second, above 0"),
        ("gpu_memory", is_whole(options["gpu_memory"], 1, 2**62), "take a number of bytes, such as 80 * 10**9"),
    ):
        if options[name] is not None and (isinstance(options[name], bool) or not good):
            raise VidsslError(f"estimate: {name}={options[name]!r}: {fix}")
    for name in ("gpus", "gpus_per_node", "seconds"):
        if options[name] is None:
            raise VidsslError(f"estimate: {name}=None: take a number")


def _size_of(recipe: Recipe) -> Size:
    """The size of a store for a recipe: its own, or that to which its task resizes."""
    if recipe.store_size != "none":
        return parse_size(recipe.store_size)
    augment = recipe.pretext.augment  # a short side keeps the aspect ratio, which only the native size does
    return "native" if augment.short_side is not None else augment.resize


def _sum(seen: Look, column: str) -> float:
    """The sum of a column over the usable videos of the source."""
    return seen.scale * float(np.asarray(seen.index.column(column).to_numpy(), np.float64)[seen.index.usable()].sum())


def _sizes(seen: Look, made: Trial, stores: dict[str, FrameStore], source: Source) -> dict[str, Figure]:
    """Bytes of the videos, of prepared ones, and of the frames in each store."""
    now = _sum(seen, "bytes")
    return {
        "videos as they are": Figure(value=now, source=source),
        "prepared videos": Figure(value=made.bytes * now, source="extrapolated")
        if made.spent
        else _unknown(made.reason),
        **{name: Figure(value=seen.scale * one.bytes_of(seen.index), source=source) for name, one in stores.items()},
    }


def _unknown(reason: str) -> Figure:
    return Figure(value=None, source="not measured", reason=reason)


def _hours(seen: Look, spent: list[Spent], reason: str = "") -> Figure:
    """Hours of one core for all videos, from trials: in proportion to their work.

    The error is that of a ratio of two sums: William G. Cochran, Sampling Techniques, 3rd edition, section 6.4.
    """
    work, seconds = (np.array([one[at] for one in spent]) for at in (0, 1))
    if not work.sum():
        return _unknown(reason or "no frame was decoded")
    ratio = seconds.sum() / work.sum()
    left = seconds - ratio * work
    error = 2 * sqrt(len(work) / (len(work) - 1) * (left**2).sum()) / seconds.sum() if len(work) > 1 else None
    return Figure(value=ratio * seen.work / 3600, source="extrapolated", error=error)


def _rate(measure: Callable[[], float]) -> Figure:
    try:
        return Figure(value=measure(), source="measured here")
    except VidsslError as error:
        return _unknown(str(error))


def _wanted(seen: Look, recipe: Recipe, given: float | None, device: torch.device | None, seconds: float) -> Figure:
    """Samples per second that a GPU trains on."""
    if given is not None:
        return Figure(value=float(given), source="given")
    if device is None:
        return _unknown("no GPU is here; give --samples-per-gpu")
    try:
        return Figure(value=step_rate(seen.index, recipe, device, seconds), source="measured here")
    except torch.cuda.OutOfMemoryError:
        return _unknown("a step of this recipe does not fit into the GPU; give --samples-per-gpu")


def _rooms(device: torch.device | None, gpu_memory: int | None, folder: Path) -> dict[str, Figure]:
    """Bytes that frames may take in each place."""
    if gpu_memory is not None:
        gpu = Figure(value=PART * gpu_memory, source="given")
    elif device is not None:
        gpu = Figure(value=PART * free_bytes(device), source="measured here")
    else:
        gpu = _unknown("no GPU is here; give --gpu-memory")
    disks = {"/dev/shm": _SHARED, "disk": folder}
    return {
        "GPU memory": gpu,
        "host memory": Figure(value=PART * available_bytes(), source="measured here"),
        **{
            name: Figure(value=room_on_disk(path), source="measured here") if path.is_dir() else _unknown("none here")
            for name, path in disks.items()
        },
    }
