"""Loader: batches of tuples on the device.

A batch is a pure function of (seed, epoch, position); the number of workers does not change it.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, cast, get_args

import numpy as np
import torch

from vidssl.checks import is_whole, is_word
from vidssl.cpus import cpus
from vidssl.device import pick_device
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import DType
from vidssl.kernels.joint import HasPlan, JointSpec, Spec
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.arguments import check_numbers, need
from vidssl.loader.buffers import upload
from vidssl.loader.choose_decoder import DECODES, Decode, choose_decoder, decode_with_store
from vidssl.loader.effects import Effects
from vidssl.loader.engines import ENGINES, Settings, graph_engine, make_engine
from vidssl.loader.graph_decoder import GraphDecoder
from vidssl.loader.pipeline import Made, Pipeline, windows_per_second
from vidssl.loader.quarantine import Quarantine
from vidssl.loader.sampler import Sampler, Schedule
from vidssl.loader.state import differences, sequence
from vidssl.remote import as_path
from vidssl.store.choose import PART, choose_backend
from vidssl.store.device import Arenas, free_bytes
from vidssl.store.fill import Filler
from vidssl.store.frames import FrameStore
from vidssl.types import Batch, VidsslError

log = logging.getLogger(__name__)
_MANY = 16  # workers for each core: more cannot be meant


class Loader:
    """Iterates over the `Batch`es of one epoch; the next iteration continues with the next epoch.

    The same arguments give the same batches with every engine and every number of workers. Ranks share one global
    sequence: batch b of an epoch holds positions [(b * world_size + rank) * batch_size, ...).

    Args:
        index: A VideoIndex or Mixture. The loader uses videos of at least `pretext.plan.frames` frames; the attribute
            `skipped` lists the others as (path, reason). `Batch.target` is each video's place in `index.classes`.
        pretext: A pretext task, or the PlanSpec of another task, or a JointSpec of several.
        batch_size: Tuples per batch of this rank.
        device: "auto", "cpu", "cuda" or "cuda:N".
        decode: Where frames are decoded. "cpu": by PyAV. "nvdec": by the GPU's decoder; videos that it does not take
            are decoded on the CPU, and counted. "auto": the faster of these two, by a short measurement. "dali": the
            graph of "nvdec" with DALI's software decoder instead of NVDEC, to try it on a CPU (VP8 and VP9). All give
            the same frames; "nvdec" and "dali" convert colours in another way than "cpu".
        seed: Seed of windows, plans and the order of videos.
        rank: Rank of this process, below `world_size`.
        world_size: Number of processes that share an epoch.
        workers: Threads that fetch windows; None takes one per core. Far more are slower: a warning. For a GPU, and
            where three or more have a core each, every one decodes in a process of its own.
        train: False shows the videos in order, each with its middle window, centre crop and a fixed arrangement; the
            last batch may be smaller.
        tuples_per_window: Tuples drawn from one decoded window; they have consecutive positions.
        dtype: Type of the clips. uint8 holds the normalised values, rounded: take
            Augment(mean=(0, 0, 0), std=(1 / 255,) * 3) for pictures in 0..255.
        channels_last: Store the clips in the memory order [B, K, T, h, w, 3]; their shape does not change.
        engine: "inline": the workers make the clips of what they decode (CPU). "dali": one DALI graph. "eager": the
            same steps one by one. "store": one call for all windows of a batch, from frames of the store that lie on
            the device. "auto": store if frames lie there, else inline on a CPU for plans that need no motion, or with a
            store; otherwise dali, or eager where DALI is not installed.
        store: Frames are taken from this store and kept in it; all videos then have the size of the store. Frames are
            decoded on the CPU. None decodes in every epoch, at the size of each video, as a store of native size does.
            Where kept frames lie is the store's `backend`; the attribute `stored_in` says what was chosen ("file",
            "memory" or "device"; None if nothing is kept).
        max_corrupt: Fraction of the videos that may be corrupt before VidsslError is raised.
        quarantine: A .jsonl file that gets a line for each window that cannot be read. The next video's window replaces
            it.
        file_timeout: Seconds that decoding a window may take, plus one for each MiB of its file and each decoded frame;
            None takes 60. A file that takes longer counts as corrupt, and is not opened again.

    Attributes:
        waited: Seconds that iteration has taken so far to give batches: how long the caller waited for data.

    Raises:
        VidsslError: An argument is invalid, no video is long enough, or the column of labels is damaged.
    """

    def __init__(
        self,
        index: VideoIndex,
        pretext: HasPlan | Spec,
        *,
        batch_size: int,
        device: str | torch.device = "auto",
        decode: Decode = "auto",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int | None = None,
        train: bool = True,
        tuples_per_window: int = 1,
        dtype: DType | torch.dtype = "float32",
        channels_last: bool = False,
        engine: Literal["auto", "inline", "dali", "eager", "store"] = "auto",
        store: FrameStore | None = None,
        max_corrupt: float = 0.01,
        quarantine: str | os.PathLike[str] | None = None,
        file_timeout: float | None = None,
    ) -> None:
        spec = pretext if isinstance(pretext, PlanSpec | JointSpec) else getattr(pretext, "plan", None)
        workers = workers if workers is not None else cpus()
        dtype = cast(DType, str(dtype).removeprefix("torch."))
        need(isinstance(index, VideoIndex), f"index={index!r}: take a VideoIndex, such as VideoIndex.build(folder)")
        if not isinstance(spec, PlanSpec | JointSpec):
            raise VidsslError(f"pretext={pretext!r}: take a Pretext, such as vidssl.pretext.Vcop(), or a PlanSpec")
        check_numbers(batch_size, seed, rank, world_size, workers, tuples_per_window, max_corrupt)
        if workers > _MANY * cpus():
            log.warning("workers=%d: far too many threads for %d core(s); leave it out", workers, cpus())
        for name, value, known in (
            ("dtype", dtype, get_args(DType)),
            ("decode", decode, DECODES),
            ("engine", engine, ("auto", *ENGINES)),
        ):
            need(is_word(value, known), f"{name}={value!r}: take one of {', '.join(known)}")
        self.index, self.spec, self.train = index, spec, train
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.skipped: list[tuple[str, str]] = index.skipped(spec.frames)
        self._targets = index.labels
        self.sampler = Sampler.of(index, spec, seed=seed, train=train, tuples=tuples_per_window)
        self._effects = Effects(spec, self.sampler)
        self._schedule = Schedule(sampler=self.sampler, batch_size=batch_size, rank=rank, world_size=world_size)
        need(
            len(self) > 0,
            f"batch_size={batch_size} x world_size={world_size}: an epoch has only {len(self.sampler)} tuples; "
            "take a smaller batch_size",
        )
        self.device = pick_device(device)
        self.settings = Settings(
            spec=spec,
            sampler=self.sampler,
            device=self.device,
            dtype=dtype,
            channels_last=channels_last,
            windows=batch_size // tuples_per_window,
            threads=workers,
        )
        self._file_timeout, self.store = file_timeout, store
        decode = self._open_store(decode, engine)
        decoder, why = self._choose_decoder(decode, engine)
        self.decode = "cpu" if decoder is None else "nvdec" if decoder.device == "mixed" else "dali"
        kept = not spec.needs_motion or store is not None  # without kept motion, the graph's own threads measure it
        inline = self.device.type == "cpu" and decoder is None and kept
        best = "store" if self._arenas is not None else "inline" if inline else graph_engine()
        self.engine = engine if engine != "auto" else best
        how = f"{workers} workers; device={self.device}, engine={self.engine}"
        self._report("decode=%s: %s, because %s; %s", decode, self.decode, why, how)
        self._pipeline = self._connect(self.engine, decoder, self.settings, self._schedule)
        self._closed = False
        self.epoch, self._batch = 0, 0  # of the next batch that is yielded
        self.waited = 0.0
        self._counts: Counter[str] = Counter()
        self._rejected = torch.zeros((), dtype=torch.int64, device=self.device)
        path = as_path(quarantine, "quarantine") if quarantine is not None else None
        files = len(np.unique(index.files[self.sampler.rows]))
        self._quarantine = Quarantine(path=path, max_corrupt=max_corrupt, videos=files)

    def _report(self, message: str, *values: object) -> None:
        (log.info if self.train else log.debug)(message, *values)

    def _open_store(self, decode: Decode, engine: str) -> Decode:
        """Chooses where frames of the store lie, and starts to keep what it lacks. Returns where frames are decoded."""
        store = self.store
        self._filler: Filler | None = None
        self._arenas: Arenas | None = None
        self.stored_in: str | None = None
        in_place = engine in ("auto", "store")
        if store is not None:
            decode = decode_with_store(store, decode, self.spec.augment.crop)
            need(
                in_place or store.backend != "device",
                f'engine={engine!r}: it does not use frames that lie on the device; take "auto" or "store", or a store '
                'with another backend than "device"',
            )
        if store is not None and store.folder is not None:
            free = free_bytes(self.device)
            self.stored_in, why = choose_backend(store, self.index, self.device, free, in_place=in_place)
            self._report("store=%s: %s, because %s", store.backend, self.stored_in, why)
            if self.stored_in == "device":
                self._arenas = Arenas(store, self.index, self.device, int(PART * free))
        need(
            engine != "store" or self._arenas is not None,
            'engine="store": it needs frames on the device; take a FrameStore with backend="device", or engine="auto"',
        )
        if store is not None and store.keeps:
            self._filler = Filler(store, self.index, file_timeout=self._file_timeout)
            weakref.finalize(self, self._filler.close)  # also at exit, before the interpreter is gone
        return decode

    def _choose_decoder(self, decode: str, engine: str) -> tuple[GraphDecoder | None, str]:
        in_graph = engine in ("auto", "dali")
        if decode == "auto" and not in_graph:
            return None, f"engine={engine}"
        found, why = choose_decoder(decode, self.device, self.index, self.sampler.rows, self._measure)
        need(found is None or in_graph, f'engine={engine!r}: decode={decode!r} needs "auto" or "dali"')
        return found, why

    def _connect(self, engine: str, decoder: GraphDecoder | None, settings: Settings, schedule: Schedule) -> Pipeline:
        worker, made = make_engine(
            engine,
            settings,
            self.index,
            decoder,
            store=self.store,
            arenas=self._arenas,
            missed=None if self._filler is None else self._filler.ask,
            file_timeout=self._file_timeout,
        )
        return Pipeline(worker, made, schedule, threads=settings.threads)

    def _measure(self, decoder: GraphDecoder | None) -> float:
        """Returns the windows per second with a decoder in the graph, or on the CPU."""
        sampler = replace(self.sampler, train=True)  # endless
        windows = min(self.settings.windows, len(sampler.rows))
        schedule = Schedule(sampler=sampler, batch_size=windows * sampler.tuples, rank=0, world_size=1)
        with self._connect("dali", decoder, replace(self.settings, sampler=sampler), schedule) as pipeline:
            return windows_per_second(pipeline, windows, warm_up=2, count=2, seconds=1.5)

    def __len__(self) -> int:
        """Batches per epoch.

        Training drops the tuples that do not fill a global batch; in evaluation the last ranks may have one batch less.
        """
        return len(self._schedule)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the rest of the current epoch, or the next epoch if no batch is left.

        Iteration continues where it stopped, also after `break` and `load_state_dict`.
        """
        need(not self._closed, "this loader is closed: make a new one")
        if self._batch >= len(self):  # the caller left the epoch at its last batch
            self.epoch, self._batch = self.epoch + 1, 0
        if self._batch == 0 and not self.train:
            self._pipeline.seek(self.epoch, 0)
        while self._batch < len(self):
            asked = perf_counter()
            made = next(self._pipeline)
            self.epoch, self._batch = made.epoch, made.number + 1
            batch = self._batch_of(made)
            self.waited += perf_counter() - asked
            yield batch
        self.epoch, self._batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Returns the position of the next batch, and everything that the sequence of batches depends on.

        These are plain values, which JSON keeps.
        """
        return {"epoch": self.epoch, "batch": self._batch, "sequence": dict(self._sequence)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues at `state`.

        Raises:
            VidsslError: `state` comes from other videos, another pretext, seed or batch size, or from no loader.
        """
        good = isinstance(state, Mapping) and {"epoch", "batch", "sequence"} <= set(state)
        good = good and is_whole(state["epoch"], 0, 2**32 - 1) and is_whole(state["batch"], 0, 2**63)
        need(good and isinstance(state["sequence"], Mapping), f"state={state!r}: take the result of state_dict()")
        changed = differences(state["sequence"], self._sequence, len(self.sampler.rows))
        need(
            not changed,
            f"state: the batches would differ ({'; '.join(changed)}); restore these values, or start a new run",
        )
        self.epoch, self._batch = int(state["epoch"]), int(state["batch"])
        self._pipeline.seek(self.epoch, self._batch)

    def set_epoch(self, epoch: int) -> None:
        """Continues with the first batch of `epoch`. Raises VidsslError if it is no whole number in 0..2**32 - 1."""
        need(is_whole(epoch, 0, 2**32 - 1), f"set_epoch: epoch={epoch!r}: take a whole number 0 <= epoch < 2**32")
        self.epoch, self._batch = int(epoch), 0
        self._pipeline.seek(self.epoch, 0)

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the start. Reading them waits for the device.

        windows: Windows shown.
        frames: Frames decoded, or read from the store.
        stored: Windows that were read from the store.
        damaged: Shards and blocks of the store that were dropped because they are damaged; their frames are decoded.
        replaced: Windows that the next video's window replaced, because they could not be read.
        corrupt_videos: Videos of which a window could not be read.
        rejected: Tuples outside the task's limits.
        fallback: Windows that were decoded on the CPU because the decoder in the graph did not take them.
        """
        counts = {name: self._counts[name] for name in ("windows", "frames", "stored", "replaced")}
        corrupt, failed = len(self._pipeline.worker.corrupt), self._pipeline.engine.fallbacks
        fallback = self._counts["fallback"] + failed
        damaged = 0 if self.store is None else self.store.stats["damaged"]
        return counts | {
            "damaged": damaged,
            "corrupt_videos": corrupt,
            "rejected": int(self._rejected),
            "fallback": fallback,
        }

    @property
    def drawn(self) -> dict[str, int]:
        """Windows of each data set of a Mixture that all ranks show before the next batch; {} for a single set."""
        return self._schedule.drawn(self.epoch, self._batch)

    @property
    def queue_depth(self) -> int:
        """Batches whose windows are fetched and wait to be taken."""
        return self._pipeline.queue_depth

    def waits_for(self) -> str:
        """Names the videos that the next batch waits for, for a message when the wait is too long."""
        missing = self._pipeline.waits_for()
        if missing is None:
            return f"the engine {self.engine!r}"
        epoch, number, positions = missing
        windows = [self.sampler.window(epoch, position) for position in positions]
        named = (f"{self.index.name(w.video)} frames {w.first}..{w.first + w.span - 1}" for w in windows[:8])
        return f"{len(windows)} window(s) of epoch {epoch}, batch {number}: {'; '.join(named)}"

    def close(self) -> None:
        """Stops the workers and the engine."""
        self._closed = True
        self._pipeline.close()
        if self._filler is not None:
            self._filler.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _batch_of(self, made: Made) -> Batch:
        """Counts what the pipeline made, and returns it as a batch."""
        requests, output = made.requests, made.output
        self._counts["windows"] += len(requests)
        self._counts["frames"] += sum(len(request.number) for request in requests)
        self._counts["stored"] += made.stored
        if self.store is not None:
            self.store.count_shown(len(requests), made.stored)
        self._counts["fallback"] += made.fallbacks
        if failures := [failure for request in requests for failure in request.failures]:
            self._counts["replaced"] += len(failures)
            self._quarantine.add(failures, len(self._pipeline.worker.corrupt))
        tuples = range(self.sampler.tuples)
        where = [(request.window.video, request.window.first) for request in requests for _ in tuples]
        rows, firsts = np.array(where, dtype=np.int64).T
        video, first, target = upload(np.stack((rows, firsts, self._targets[rows])), self.device)
        self._rejected += (output.status != 0).sum()
        frame = output.position + first[:, None, None]
        self._effects.apply(output.clips, made.epoch, requests[0].window.position)
        return Batch(output.clips, output.label, video, frame, output.status, target)

    @cached_property
    def _sequence(self) -> dict[str, Any]:
        return sequence(
            self.index,
            self.spec,
            self.sampler,
            effects=self._effects.settings,
            store=None if self.store is None or self.store.size == "native" else self.store.size_text,
            **{"global batch": self.batch_size * self.world_size},
        )
