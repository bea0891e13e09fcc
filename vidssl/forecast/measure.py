"""Short trials on a few videos: re-encoding, keeping and loading them, and a step of training on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import av
import numpy as np
import pyarrow as pa
import torch

from vidssl.forecast.look import Look, Spent, read_file, within, work_of
from vidssl.index.found import VideoFile
from vidssl.index.table import VideoIndex
from vidssl.loader.loader import Loader
from vidssl.prepare.encode import Encoding, encode
from vidssl.pretext import build_model
from vidssl.store.fill import keep
from vidssl.store.frames import FrameStore, Size
from vidssl.train.compute import count, loads_on, pick_amp
from vidssl.train.config import Recipe
from vidssl.train.distributed import ProcessGroup
from vidssl.train.schedule import Schedule
from vidssl.train.step import Stepper
from vidssl.types import VidsslError

_KEPT = 2**30  # bytes of the store of a trial
_WARM = 3  # steps before the clock starts
_ABOUT = ("regular", "frame_rate", "color_range", "color_matrix", "color_primaries")  # what `encode` reads of a row


class Trial(NamedTuple):
    """What was made of a few videos.

    Attributes:
        made: The new videos of `re_encode`; the videos whose frames `keep_frames` kept. None if there are none.
        spent: What each took.
        bytes: Bytes of the new videos, as a fraction of their sources'.
        reason: Why none were made; "" if some were.
    """

    made: VideoIndex | None
    spent: list[Spent]
    bytes: float = 0.0
    reason: str = ""

    @property
    def videos(self) -> VideoIndex:
        """The index. Raises VidsslError if no videos were made."""
        if self.made is None:
            raise VidsslError(self.reason)
        return self.made


def re_encode(seen: Look, folder: Path, seconds: float) -> Trial:
    """Re-encodes videos as `prepare` does and indexes the new ones, with one thread. The new videos lie in `folder`."""
    if seen.index.has_excerpts:
        return Trial(None, [], reason="segments are not re-encoded: prepare the folder of the files")
    how, before, after, reason = Encoding(), 0, 0, ""
    tables: list[pa.Table] = []
    spent: list[Spent] = []
    for row in within(seconds, seen.rows.tolist()):
        name, began = f"{len(spent)}.mp4", process_time()
        try:
            video = seen.index.video(row)
            encode(video, {key: seen.index.column(key)[row].as_py() for key in _ABOUT}, folder / name, how)
        # PyAV raises the last three for values of a file that it does not expect
        except (VidsslError, av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
            reason = str(error)
            continue
        tables.append(read_file(folder, [VideoFile(path=name, label=None)]))
        spent.append(Spent(float(work_of(seen.index, np.array([row]))[0]), process_time() - began))
        before, after = before + video.bytes, after + (folder / name).stat().st_size
    if not spent:
        return Trial(None, [], reason=reason)
    return Trial(VideoIndex(pa.concat_tables(tables), folder), spent, after / before)


def keep_frames(seen: Look, store: FrameStore, seconds: float) -> Trial:
    """Decodes videos and keeps their frames in a store, with one thread."""
    spent: list[Spent] = []
    kept: list[int] = []
    reason = ""
    for row in within(seconds, seen.rows.tolist()):
        began = process_time()
        if store.bytes_of(seen.index.select([*kept, row])) > _KEPT and kept:
            break
        try:
            keep(store, seen.index.video(row))
        except VidsslError as error:
            reason = str(error)
            continue
        spent.append(Spent(float(work_of(seen.index, np.array([row]))[0]), process_time() - began))
        kept.append(row)
    store.flush()
    store.refresh()
    return Trial(seen.index.select(kept), spent) if kept else Trial(None, [], reason=reason)


def load_rate(
    index: VideoIndex, recipe: Recipe, size: Size | None, seconds: float, store: FrameStore | None = None
) -> float:
    """Returns the samples (tuples) that are loaded in a second of processor time.

    Args:
        index: The videos.
        recipe: Its task, and its tuples of a window.
        size: To which frames are reduced after decoding; None does not.
        seconds: How long to measure.
        store: Has the frames of `index`; None decodes them.
    """
    tuples = recipe.train.tuples_per_window
    windows = min(8, len(index.usable(recipe.pretext.plan.frames)))
    if store is None and size is not None:
        store = FrameStore(None, size)
    with Loader(
        index, recipe.pretext, batch_size=windows * tuples, tuples_per_window=tuples, device="cpu", store=store
    ) as loader:
        return _rate(loader, _WARM, seconds) * windows * tuples


def _rate(loader: Loader, warm: int, seconds: float) -> float:
    """Batches in a second of processor time, from epoch to epoch, after some that fill the queues."""
    done, began, used = -warm, perf_counter(), process_time()
    while True:
        for _ in loader:
            done += 1
            if done <= 0:
                began, used = perf_counter(), process_time()
            elif perf_counter() - began > seconds:
                return done / (process_time() - used)


def step_rate(index: VideoIndex, recipe: Recipe, device: torch.device, seconds: float) -> float:
    """Returns the samples (tuples) per second that a device trains on, with the same batch in every step."""
    config = recipe.train
    rows = index.usable(recipe.pretext.plan.frames)
    some = index.select(np.resize(rows, max(1, config.batch_size // config.tuples_per_window)))
    model = build_model(recipe.pretext, recipe.encoder, slotwise_bn=config.slotwise_bn, norm=config.norm)
    model = model.to(device).train()
    amp = pick_amp(config.amp, device, count(model))
    schedule = Schedule(replace(config, schedule="constant", milestones=(), lr_floor=0.0), total=1, epoch=1)
    stepper = Stepper(model, config, ProcessGroup(device=device), amp=amp, schedule=schedule)
    with Loader(
        some,
        recipe.pretext,
        batch_size=len(some) * config.tuples_per_window,
        tuples_per_window=config.tuples_per_window,
        device=loads_on(device),
        channels_last=True,
        dtype="bfloat16" if amp else "float32",
    ) as loader:
        batch = next(iter(loader))
    done, began = -_WARM, perf_counter()
    while done < 1 or perf_counter() - began < seconds:
        stepper.backward(batch, 0)
        stepper.update(0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
        if done <= 0:
            began = perf_counter()
    return done * len(batch.clips) / (perf_counter() - began)
