"""Loader: batches of tuples on the device, a pure function of (seed, epoch, position), whatever the number of workers."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import torch

from vidssl.device import pick_device
from vidssl.loader.ahead import Ahead
from vidssl.loader.choose_decoder import DECODES, Decode, choose
from vidssl.loader.engines.base import Setting
from vidssl.loader.engines import ENGINES, make_engine
from vidssl.loader.worker import Fetched, Fetcher
from vidssl.loader.buffers import pinned, upload
from vidssl.loader.graph_decoder import Hardware
from vidssl.loader.quarantine import Quarantine
from vidssl.kernels.assemble import DType
from vidssl.video.decode import decode as decode_cpu
from vidssl.index.table import VideoIndex
from vidssl.kernels.plan import HasPlan, PlanSpec
from vidssl.loader.sampler import Sampler
from vidssl.workers import Workers
from vidssl.types import Batch, VidsslError

log = logging.getLogger(__name__)


class Loader:
    """Iterates over one epoch of `Batch`es at a time; epochs follow each other.

    index: videos with at least `pretext.plan.frames` frames are used; `skipped` names the others. batch_size: tuples a batch, of this
    rank. device: "auto", "cpu", "cuda" or "cuda:N". workers: threads that decode, or cut what is decoded; default one a core.
    decode: "cpu" (PyAV), "nvdec" (the GPU's decoder; videos that it does not take are decoded on the CPU, and counted), or "auto": the
    faster of both, by a short measurement. They give the same frames, and clips that differ by the conversion of colours; where that
    must not be, name one. "dali": the graph of "nvdec" with DALI's software decoder in its place (device="cpu"; VP8 and VP9), to try it.
    train=False: videos in order, window in the middle, centre crop, a fixed arrangement for each video, the last batch may be smaller.
    tuples_per_window: tuples drawn from one decoded window; they follow each other. dtype, channels_last: of the clips' memory; uint8 holds
    the normalised values, rounded: for pictures in 0..255 take Augment(mean=(0, 0, 0), std=(1 / 255,) * 3).
    engine: "graph" (DALI), "eager" (the same stages one by one), "fused" (on the CPU, for plans that need no motion: workers assemble what
    they decode at once), or "auto": fused where it can, else graph. All give the same batches. max_bad: share of videos that may turn out
    unreadable before the run stops; quarantine: a .jsonl file that gets a line for each of their windows, which the next video's replaces.
    file_timeout: seconds that decoding a window may take, with one more for each MiB of its file and each frame that comes; None takes 60.
    A file that takes longer is unreadable.

    Batch b of an epoch holds positions [(b * world_size + rank) * batch_size, ...), so ranks only slice one global sequence.
    Raises VidsslError where an argument does not fit, and where no video is long enough.
    """

    def __init__(
        self, index: VideoIndex, pretext: HasPlan | PlanSpec, *, batch_size: int, device: str | torch.device = "auto",
        decode: Decode = "auto", seed: int = 0, rank: int = 0, world_size: int = 1, workers: int | None = None,
        train: bool = True, tuples_per_window: int = 1, dtype: DType | torch.dtype = "float32", channels_last: bool = False,
        engine: Literal["auto", "fused", "graph", "eager"] = "auto", max_bad: float = 0.01,
        quarantine: str | os.PathLike[str] | None = None, file_timeout: float | None = None,
    ) -> None:  # fmt: skip
        _need(isinstance(index, VideoIndex), f"index={index!r}: take a VideoIndex, as VideoIndex.build(folder) makes it")
        spec = pretext if isinstance(pretext, PlanSpec) else getattr(pretext, "plan", None)
        if not isinstance(spec, PlanSpec):
            raise VidsslError(f"pretext={pretext!r}: take a Pretext, such as vidssl.pretext.Vcop(), or a PlanSpec")
        for name, value in {"batch_size": batch_size, "seed": seed, "rank": rank, "world_size": world_size}.items():
            _need(isinstance(value, int), f"{name}={value!r}: take a whole number")
        dtype = cast(DType, str(dtype).removeprefix("torch."))
        _need(dtype in get_args(DType), f"dtype={dtype!r}: take one of {', '.join(get_args(DType))}")
        workers = workers if workers is not None else len(os.sched_getaffinity(0))
        _need(batch_size >= 1, f"batch_size={batch_size}: take at least 1")
        _need(workers >= 1, f"workers={workers}: take at least 1")
        _need(0 <= max_bad <= 1, f"max_bad={max_bad}: take a share in 0..1")
        _need(0 <= rank < world_size, f"rank={rank}, world_size={world_size}: take 0 <= rank < world_size")
        _need(tuples_per_window >= 1, f"tuples_per_window={tuples_per_window}: take at least 1")
        _need(batch_size % tuples_per_window == 0, f"batch_size={batch_size}: take a multiple of tuples_per_window={tuples_per_window}")
        _need(decode in DECODES, f"decode={decode!r}: take one of {', '.join(DECODES)}")
        _need(engine in ("auto", *ENGINES), f"engine={engine!r}: take one of auto, {', '.join(ENGINES)}")
        self.index, self.spec, self.train = index, spec, train
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        rows = index.usable(spec.frames)
        self.skipped: list[tuple[str, str]] = index.skipped(spec.frames)
        _need(
            len(rows) > 0,
            f"index: none of its {len(index)} videos has the {spec.frames} frames that a window needs; {_first(self.skipped)}",
        )
        lengths = np.array([index.frames(int(row)) for row in rows], dtype=np.int64)
        self.sampler = Sampler(
            rows=rows, frames=lengths, span=spec.frames, seed=seed, train=train, tuples=tuples_per_window, whole=spec.window == "video"
        )  # fmt: skip
        _need(len(self) > 0, f"batch_size={batch_size} x world_size={world_size}: an epoch has only {len(self.sampler)} tuples; take less")
        self.device = pick_device(device)
        self.setting = Setting(
            spec=spec, sampler=self.sampler, device=self.device, dtype=dtype, channels_last=channels_last,
            windows=batch_size // tuples_per_window, threads=workers,
        )  # fmt: skip
        alike = partial(
            Loader, index, pretext, batch_size=batch_size, device=self.device, seed=seed, workers=workers, train=train,
            tuples_per_window=tuples_per_window, dtype=dtype, channels_last=channels_last, engine="graph",
        )  # fmt: skip
        hardware = self._choose(decode, engine, rows, lambda name: alike(decode=name))
        decoder = partial(decode_cpu, empty=pinned) if self.device.type == "cuda" else decode_cpu
        self._fetcher = Fetcher(index=index, spec=spec, sampler=self.sampler, decoder=decoder, hardware=hardware, file_timeout=file_timeout)
        self._engine = make_engine(self.engine, self.setting, hardware, self._fetcher)
        self._pool = Workers(workers, "vidssl-decode")
        self._ahead = max(2, -(-2 * workers // self.setting.windows) + 1)  # batches whose windows are being decoded
        self._fetching: deque[Ahead] = deque()
        self._closed = False
        self._made: tuple[int, int, list[Fetched]] | None = None  # in the engine
        self.epoch, self._batch = 0, 0  # of the next batch to be yielded
        self._counts: Counter[str] = Counter()
        self._rejected = torch.zeros((), dtype=torch.int64, device=self.device)
        path = Path(quarantine) if quarantine is not None else None
        self._quarantine = Quarantine(path=path, max_bad=max_bad, videos=len(rows))

    def _choose(
        self, decode: str, engine: str, rows: npt.NDArray[np.int64], alike: Callable[[Decode], Loader]
    ) -> Hardware | None:  # fmt: skip
        """Settles `decode` and `engine`, and says so. alike: a loader as this one, to measure."""
        graph = engine in ("auto", "graph")
        if decode == "auto" and not graph:
            decode = "cpu"
        key = f"{self.device} {self.batch_size} {self.setting.threads} {self._fingerprint()}"
        hardware, why = choose(decode, self.device, self.index, rows, key, alike)
        _need(hardware is None or graph, f'engine={engine!r}: decode={decode!r} needs "auto" or "graph"')
        if engine == "auto":
            engine = "fused" if self.device.type == "cpu" and not self.spec.needs_motion and hardware is None else "graph"
        self.engine, self.decode = engine, "cpu" if hardware is None else "nvdec" if hardware.device == "mixed" else "dali"
        say = log.info if self.train else log.debug
        workers = self.setting.threads
        say("decode=%s: %s, because %s; %d workers; device=%s, engine=%s", decode, self.decode, why, workers, self.device, engine)
        return hardware

    def __len__(self) -> int:
        """Batches an epoch. Training leaves out what does not fill a global batch; in evaluation the last ranks may have one less."""
        share = self.batch_size * self.world_size
        return len(self.sampler) // share if self.train else -(-max(len(self.sampler) - self.rank * self.batch_size, 0) // share)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch, or the next one if it was left at its last batch: after a break, or a loaded state, iteration goes
        on where it was."""
        _need(not self._closed, "this loader is closed: make a new one")
        if self._batch >= len(self):  # the caller left the epoch at its last batch
            self.epoch, self._batch = self.epoch + 1, 0
        while self._batch < len(self):
            epoch, number, windows, batch = self._next()
            self.epoch, self._batch = epoch, number + 1
            self._account(windows)
            yield batch
        self.epoch, self._batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch stands, and what the sequence of batches depends on."""
        return {"epoch": self.epoch, "batch": self._batch, "sequence": self._fingerprint()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on at `state`. Raises VidsslError where another index, pretext, seed or batch size made it."""
        mine = self._fingerprint()
        _need({"epoch", "batch", "sequence"} <= set(state), f"state={state!r}: take what state_dict() gave")
        changed = [f"{key}: {state['sequence'].get(key)} then, {mine[key]} now" for key in mine if state["sequence"].get(key) != mine[key]]
        _need(not changed, f"state: the batches would not be the same ({'; '.join(changed)}); start anew or restore these")
        self._forget()
        self.epoch, self._batch = int(state["epoch"]), int(state["batch"])

    def set_epoch(self, epoch: int) -> None:
        """Starts `epoch` from its first batch."""
        _need(0 <= epoch < 2**32, f"set_epoch: epoch={epoch}: take 0 <= epoch < 2**32")
        self._forget()
        self.epoch, self._batch = epoch, 0

    @property
    def stats(self) -> dict[str, int]:
        """Counted since the start: windows, frames (decoded and kept), bad (windows replaced), bad_videos, rejected (plans off limits);
        fallback: windows that the decoder in the graph did not take, so that they were decoded on the CPU. Waits for the device."""
        counts = {name: self._counts[name] for name in ("windows", "frames", "bad")}
        fallback = self._counts["fallback"] + len(self._fetcher.failed)
        return counts | {"bad_videos": len(self._fetcher.known_bad), "rejected": int(self._rejected), "fallback": fallback}

    @property
    def ready(self) -> int:
        """Batches whose windows are all decoded and wait to be taken."""
        return sum(all(future.done() for future in ahead.windows) for ahead in list(self._fetching)) + (self._made is not None)

    def waits_for(self) -> str:
        """The videos that the next batch still lacks, for whoever waits too long."""
        for ahead in list(self._fetching)[:1]:
            places = [place for place, future in zip(ahead.places, ahead.windows, strict=True) if not future.done()]
            windows = [self.sampler.window(ahead.epoch, place) for place in places]
            if windows:
                named = (f"{self.index.name(w.video)} frames {w.first}..{w.first + w.span - 1}" for w in windows[:8])
                return f"{len(windows)} window(s) of epoch {ahead.epoch}, batch {ahead.number}: {'; '.join(named)}"
        return f"the engine {self.engine!r}"

    def close(self) -> None:
        """Ends the workers and the graph."""
        self._closed = True
        self._pool.close()
        self._engine.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _next(self) -> tuple[int, int, list[Fetched], Batch]:
        """The next batch. The one after it is left in the engine if its windows are ready, to be made while the caller works."""
        if self._made is None:
            self._push()
        assert self._made is not None
        out, (epoch, number, windows), self._made = self._engine.pull(), self._made, None
        if self._fetching and all(future.done() for future in self._fetching[0].windows):
            self._push()
        tuples = self.sampler.tuples
        where = np.array([(f.window.video, f.window.first) for f in windows for _ in range(tuples)], dtype=np.int64)
        video, first = upload(np.ascontiguousarray(where.T), self.device)
        self._rejected += (out.status != 0).sum()
        frame = out.place + first[:, None, None]
        return epoch, number, windows, Batch(clips=out.clips, label=out.label, video=video, frame=frame, status=out.status)

    def _push(self) -> None:
        self._refill()
        ahead = self._fetching[0]  # it stays there while it is waited for: see waits_for
        windows = [ahead.result(at, self._fetcher, self._pool) for at in range(len(ahead.windows))]
        self._fetching.popleft()
        self._engine.push(windows, ahead.rooms)
        self._made = ahead.epoch, ahead.number, windows
        self._refill()

    def _refill(self) -> None:
        """Hands the windows of the next batches to the workers; in training across the end of the epoch."""
        if self._fetching:
            epoch, number = self._fetching[-1][:2]
        elif self._made is not None:
            epoch, number, _ = self._made
        else:
            epoch, number = self.epoch, self._batch - 1
        while len(self._fetching) < self._ahead:
            if number + 1 == len(self) and not self.train:
                break
            epoch, number = (epoch, number + 1) if number + 1 < len(self) else (epoch + 1, 0)
            first = (number * self.world_size + self.rank) * self.batch_size
            places = range(first, min(first + self.batch_size, len(self.sampler)), self.sampler.tuples)
            rooms = self._engine.rooms(len(places))
            windows = [self._pool.submit(self._fetcher, epoch, place, room) for place, room in zip(places, rooms, strict=True)]
            self._fetching.append(Ahead(epoch, number, places, windows, rooms))

    def _forget(self) -> None:
        for ahead in self._fetching:
            for future in ahead.windows:
                future.cancel()
        self._fetching.clear()
        if self._engine.pending:
            self._engine.pull()
        self._made = None

    def _account(self, windows: list[Fetched]) -> None:
        self._counts["windows"] += len(windows)
        self._counts["frames"] += sum(len(fetched.number) for fetched in windows)
        self._counts["fallback"] += sum(bool(fetched.fallback) for fetched in windows)
        bad = [entry for fetched in windows for entry in fetched.bad]
        if not bad:
            return
        self._counts["bad"] += len(bad)
        self._quarantine.add(bad, len(self._fetcher.known_bad))

    def _fingerprint(self) -> dict[str, Any]:
        spec, sampler = self.spec, self.sampler
        digest = hashlib.sha256(sampler.rows.tobytes() + sampler.frames.tobytes())
        table = hashlib.sha256(spec.text.encode() + spec.arrangements.tobytes() + spec.labels.tobytes())
        return {
            "videos": digest.hexdigest()[:16], "pretext": table.hexdigest()[:16],
            "window": self.spec.window or sampler.span, "seed": sampler.seed,
            "global batch": self.batch_size * self.world_size, "tuples_per_window": sampler.tuples, "train": self.train,
        }  # fmt: skip


def _need(good: bool, message: str) -> None:
    if not good:
        raise VidsslError(message)


def _first(skipped: list[tuple[str, str]]) -> str:
    shown = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
    return f"for instance {shown}" if shown else "the index is empty"
