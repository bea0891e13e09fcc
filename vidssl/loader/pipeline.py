"""From positions to batches: workers fetch windows ahead of time, an engine makes batches of them, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple

import torch

from vidssl.deadline import FileTimeoutError
from vidssl.loader.engines.base import Engine, Output
from vidssl.loader.sampler import Sampler
from vidssl.loader.windows import FetchedWindow, OutputSlot
from vidssl.loader.worker import Worker
from vidssl.workers import Workers


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which positions of an epoch each batch of this rank holds.

    Batch b holds positions [(b * world_size + rank) * batch_size, ...), so ranks only slice one global sequence.
    Training leaves out what does not fill a global batch and goes on with the next epoch; in evaluation the last
    batches may be smaller or missing.
    """

    sampler: Sampler
    batch_size: int
    rank: int
    world_size: int

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, count = self.batch_size * self.world_size, len(self.sampler)
        return count // whole if self.sampler.train else -(-max(count - self.rank * self.batch_size, 0) // whole)

    def positions(self, batch: int) -> range:
        """The first position of each window of a batch."""
        first = (batch * self.world_size + self.rank) * self.batch_size
        return range(first, min(first + self.batch_size, len(self.sampler)), self.sampler.tuples)


class Made(NamedTuple):
    """A batch, and the windows that it is made of."""

    epoch: int
    number: int
    windows: Sequence[FetchedWindow]
    output: Output


class _Queued(NamedTuple):
    """A batch whose windows are being fetched."""

    epoch: int
    number: int
    positions: Sequence[int]
    windows: list[Future[FetchedWindow]]
    slots: Sequence[OutputSlot | None]


class Pipeline:
    """Worker threads, the queue of what they fetch, and an engine. Batches come in the order of `schedule`.

    threads: workers.
    """

    def __init__(self, worker: Worker[Any], engine: Engine[Any], schedule: Schedule, *, threads: int) -> None:
        self.worker, self.engine, self._schedule = worker, engine, schedule
        self._pool = Workers(threads, "vidssl-decode")
        windows = -(-schedule.batch_size // schedule.sampler.tuples)
        self._depth = max(2, -(-2 * threads // windows) + 1)  # batches whose windows are fetched ahead of time
        self._queue: deque[_Queued] = deque()
        self._in_engine: tuple[int, int, list[FetchedWindow]] | None = None
        self._last = (0, -1)  # (epoch, number) of the batch that was queued last

    def seek(self, epoch: int, number: int) -> None:
        """The next batch is batch `number` of `epoch`. What was fetched ahead of time is dropped."""
        for queued in self._queue:
            for future in queued.windows:
                future.cancel()
        self._queue.clear()
        if self.engine.pending:
            self.engine.pull()
        self._in_engine = None
        self._last = (epoch, number - 1)

    def __iter__(self) -> Iterator[Made]:
        return self

    def __next__(self) -> Made:
        """The next batch. The one after it is left in the engine if its windows are there, to be made while the caller
        works.
        """
        if self._in_engine is None:
            self._push()
        assert self._in_engine is not None
        output, (epoch, number, windows), self._in_engine = self.engine.pull(), self._in_engine, None
        if self._queue and _fetched(self._queue[0]):
            self._push()
        return Made(epoch, number, windows, output)

    @property
    def queue_depth(self) -> int:
        """Batches whose windows are all fetched and wait to be taken."""
        return sum(map(_fetched, list(self._queue))) + (self._in_engine is not None)

    def waits_for(self) -> tuple[int, int, list[int]] | None:
        """(epoch, batch, positions of the windows) that the next batch still lacks; None where it lacks none."""
        for queued in list(self._queue)[:1]:
            missing = [at for at, window in zip(queued.positions, queued.windows, strict=True) if not window.done()]
            if missing:
                return queued.epoch, queued.number, missing
        return None

    def close(self) -> None:
        """Ends the workers and the engine."""
        self._pool.close()
        self.engine.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _push(self) -> None:
        self._refill()
        if not self._queue:
            raise StopIteration
        queued = self._queue[0]  # it stays there while it is waited for: see waits_for
        windows = [self._wait(queued, at) for at in range(len(queued.windows))]
        self._queue.popleft()
        self.engine.push(windows)
        self._in_engine = queued.epoch, queued.number, windows
        self._refill()

    def _wait(self, queued: _Queued, at: int) -> FetchedWindow:
        """Window `at` of a batch. Where a thread hangs in a file, another one takes the next video."""
        while True:
            try:
                return queued.windows[at].result()
            except FileTimeoutError as late:
                self.worker.give_up(queued.epoch, queued.positions[at], late)
                queued.windows[at] = self._submit(queued.epoch, queued.positions[at], queued.slots[at])

    def _submit(self, epoch: int, position: int, slot: OutputSlot | None) -> Future[FetchedWindow]:
        return self._pool.submit(self.worker, epoch, position, slot)

    def _refill(self) -> None:
        """Hands the windows of the next batches to the workers; in training across the end of the epoch."""
        while len(self._queue) < self._depth:
            epoch, number = self._last
            if number + 1 == len(self._schedule):
                if not self._schedule.sampler.train:
                    break
                epoch, number = epoch + 1, -1
            self._last = epoch, number = epoch, number + 1
            positions = self._schedule.positions(number)
            slots = self.engine.output_slots(len(positions))
            windows = [self._submit(epoch, at, slot) for at, slot in zip(positions, slots, strict=True)]
            self._queue.append(_Queued(epoch, number, positions, windows, slots))


def _fetched(queued: _Queued) -> bool:
    return all(window.done() for window in queued.windows)


def windows_per_second(
    batches: Iterator[Any], windows: int, *, warm_up: int, seconds: float = 0.0, count: int = 1
) -> float:
    """Windows a second, in the steady state.

    batches: endless, of `windows` windows each. warm_up: batches before the clock starts. It stops after `count`
    batches and `seconds`.
    """
    for _ in islice(batches, warm_up):
        pass
    start, taken = perf_counter(), 0
    while taken < count or perf_counter() - start < seconds:
        next(batches)
        taken += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return taken * windows / (perf_counter() - start)
