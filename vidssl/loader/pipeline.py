"""Workers fetch windows ahead of time, and an engine makes batches of them, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple

import torch

from vidssl.deadline import FileTimeoutError
from vidssl.loader.engines import Engine, Output
from vidssl.loader.sampler import Schedule
from vidssl.loader.windows import DecodedWindow, FetchedWindow, OutputSlot, Request, StoredWindow
from vidssl.loader.worker import Worker
from vidssl.workers import Workers


class Made(NamedTuple):
    """A batch, and the windows that it is made of."""

    epoch: int
    number: int
    windows: Sequence[FetchedWindow]
    output: Output

    @property
    def requests(self) -> list[Request]:
        return [window.request for window in self.windows]

    @property
    def stored(self) -> int:
        """Windows whose frames a store had."""
        return sum(isinstance(one, StoredWindow) or one.request.kept is not None for one in self.windows)

    @property
    def fallbacks(self) -> int:
        """Windows that a worker decoded because the decoder in the graph does not take them."""
        return sum(isinstance(window, DecodedWindow) and bool(window.fallback) for window in self.windows)


class _AtHand(NamedTuple):
    """A window that needed no thread, in the place of its future."""

    window: FetchedWindow

    def done(self) -> bool:
        return True

    def result(self) -> FetchedWindow:
        return self.window

    def cancel(self) -> None:
        pass


class _Queued(NamedTuple):
    """A batch whose windows are being fetched."""

    epoch: int
    number: int
    positions: Sequence[int]
    windows: list[Future[FetchedWindow] | _AtHand]
    slots: Sequence[OutputSlot | None]


class Pipeline:
    """Yields the batches of `schedule` in order: `threads` workers fetch windows, the engine makes batches of them."""

    def __init__(self, worker: Worker[Any], engine: Engine[Any], schedule: Schedule, *, threads: int) -> None:
        self.worker, self.engine, self._schedule = worker, engine, schedule
        self._pool = Workers(threads, "vidssl-decode")
        windows = -(-schedule.batch_size // schedule.sampler.tuples)
        self._depth = max(2, -(-2 * threads // windows) + 1)  # batches in the queue
        self._queue: deque[_Queued] = deque()
        self._in_engine: tuple[int, int, list[FetchedWindow]] | None = None
        self._last = (0, -1)  # (epoch, number) of the batch that was queued last

    def seek(self, epoch: int, number: int) -> None:
        """Continues with batch `number` of `epoch`, and drops the windows in the queue."""
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
        """Returns the next batch.

        If the windows of the batch after it are fetched, the engine makes that batch while the caller works. The
        workers get new windows at the end: while they start, this thread would wait for Python's lock.

        Raises:
            VidsslError: This process is a fork of the one that made the pipeline.
        """
        self._pool.check_process()
        if self._in_engine is None:
            self._push()
        assert self._in_engine is not None
        output, (epoch, number, windows), self._in_engine = self.engine.pull(), self._in_engine, None
        if self._queue and _fetched(self._queue[0]):
            self._push()
        self._refill()
        return Made(epoch, number, windows, output)

    @property
    def queue_depth(self) -> int:
        """Batches whose windows are fetched and wait to be taken."""
        return sum(map(_fetched, list(self._queue))) + (self._in_engine is not None)

    def waits_for(self) -> tuple[int, int, list[int]] | None:
        """Returns (epoch, batch, positions of its windows that are not fetched yet), or None if all are fetched."""
        for queued in list(self._queue)[:1]:
            missing = [at for at, window in zip(queued.positions, queued.windows, strict=True) if not window.done()]
            if missing:
                return queued.epoch, queued.number, missing
        return None

    def close(self) -> None:
        """Stops the workers and the engine."""
        self._pool.close()
        self.engine.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _push(self) -> None:
        if not self._queue:
            self._refill()
        if not self._queue:
            raise StopIteration
        queued = self._queue[0]  # stays in the queue while it is waited for, so that waits_for sees it
        windows = [self._wait(queued, at) for at in range(len(queued.windows))]
        self._queue.popleft()
        self.engine.push(windows)
        self._in_engine = queued.epoch, queued.number, windows

    def _wait(self, queued: _Queued, at: int) -> FetchedWindow:
        """Returns window `at` of a batch. If a thread hangs in a file, another thread fetches the next video."""
        while True:
            try:
                return queued.windows[at].result()
            except FileTimeoutError as late:
                self.worker.give_up(queued.epoch, queued.positions[at], late)
                queued.windows[at] = self._submit(queued.epoch, queued.positions[at], queued.slots[at])

    def _submit(self, epoch: int, position: int, slot: OutputSlot | None) -> Future[FetchedWindow]:
        return self._pool.submit(self.worker, epoch, position, slot)

    def _refill(self) -> None:
        """Gives the workers the windows of the next batches; in training also those of the next epoch."""
        while len(self._queue) < self._depth:
            epoch, number = self._last
            if number + 1 == len(self._schedule):
                if not self._schedule.sampler.train:
                    break
                epoch, number = epoch + 1, -1
            self._last = epoch, number = epoch, number + 1
            positions = self._schedule.positions(number)
            slots = self.engine.output_slots(len(positions))
            found = self.worker.at_hand(epoch, positions)
            windows = [
                self._submit(epoch, at, slot) if window is None else _AtHand(window)
                for at, slot, window in zip(positions, slots, found, strict=True)
            ]
            self._queue.append(_Queued(epoch, number, positions, windows, slots))


def _fetched(queued: _Queued) -> bool:
    return all(window.done() for window in queued.windows)


def windows_per_second(
    batches: Iterator[Any], windows: int, *, warm_up: int, seconds: float = 0.0, count: int = 1
) -> float:
    """Measures windows per second in the steady state.

    Args:
        batches: Endless batches of `windows` windows each.
        windows: Windows per batch.
        warm_up: Batches before the clock starts.
        seconds: Least time to measure.
        count: Fewest batches to measure.
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
