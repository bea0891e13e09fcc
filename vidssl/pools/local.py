"""local: jobs run in threads of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic

from vidssl.pools.base import Job, Part, Run, T
from vidssl.types import VidsslError
from vidssl.workers import Workers

_AHEAD, _FEWEST = 4, 64  # jobs that wait or have ended, for each thread, and at least


class LocalPool:
    """A Pool of threads. It takes items as its threads get on, so its memory does not grow with their number.

    Args:
        workers: Number of threads.
    """

    apart = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def check_seen(self, folder: Path) -> None:
        """Implements `Pool.check_seen`: threads see what this process sees."""

    @contextmanager
    def start(
        self,
        job: Job[T],
        items: Iterable[T],
        *,
        name: str,
        file: Callable[[T], Path],
        workers: int | None = None,
        ordered: bool = False,
    ) -> Iterator[Run[T]]:
        """Implements `Pool.start`. A job is handed over in one part, when it has ended."""
        count = workers or self.workers
        with Workers(count, name) as threads:
            yield _Jobs(threads, job, iter(items), max(_FEWEST, _AHEAD * count))


class _Jobs(Generic[T]):
    """The jobs of one `LocalPool.start`.

    Args:
        threads: Run them.
        job: The function.
        items: What it is called for.
        ahead: Jobs that are known at a time, beside those that the caller collects.
    """

    def __init__(self, threads: Workers, job: Job[T], items: Iterator[T], ahead: int) -> None:
        self._threads, self._job, self._items, self._ahead = threads, job, items, ahead
        self._jobs: dict[Future[list[Any]], T] = {}  # those that wait or run, and those that nobody has taken yet
        self._ended: SimpleQueue[Future[list[Any]]] = SimpleQueue()
        self._submit(0)

    def parts(self, *, most: int = 1, seconds: float = 1.0) -> Iterator[list[Part[T]]]:
        while self._submit(most):
            ended = [self._ended.get()]
            until = time.monotonic() + seconds
            with suppress(Empty):
                while len(ended) < most and self._submit(most) > len(ended):
                    ended.append(self._ended.get(timeout=max(0.0, until - time.monotonic())))
            yield [self._part(job) for job in ended]

    def rest(self) -> list[Part[T]]:
        return [self._part(job) for job in list(self._jobs) if job.done()]

    def _submit(self, collected: int) -> int:
        """Starts as many jobs as may be known, of which the caller collects some. Returns how many are known then."""
        while len(self._jobs) < self._ahead + collected:
            try:
                item = next(self._items)
            except StopIteration:
                break
            job = self._threads.submit(_results, self._job, item)
            self._jobs[job] = item
            job.add_done_callback(self._ended.put)
        return len(self._jobs)

    def _part(self, job: Future[list[Any]]) -> Part[T]:
        item = self._jobs.pop(job)
        try:
            return Part(item, job.result())
        except VidsslError as error:
            return Part(item, error=error)


def _results(job: Job[T], item: T) -> list[Any]:
    found: list[Any] = []
    job(item, found.append)
    return found
