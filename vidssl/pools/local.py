"""local: jobs run in threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic

from vidssl.pools.base import Job, Part, Run, T
from vidssl.types import VidsslError
from vidssl.workers import Workers, finished


class LocalPool:
    """A Pool of threads.

    Args:
        workers: Number of threads.
    """

    apart = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

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
        with Workers(workers or self.workers, name) as threads:
            yield _Jobs({threads.submit(_results, job, item): item for item in items})


class _Jobs(Generic[T]):
    def __init__(self, jobs: dict[Future[list[Any]], T]) -> None:
        self._jobs = jobs

    def parts(self, *, most: int = 1, seconds: float = 1.0) -> Iterator[list[Part[T]]]:
        for done in finished(self._jobs, most=most, seconds=seconds):
            yield [self._part(job) for job in done]

    def rest(self) -> list[Part[T]]:
        return [self._part(job) for job in list(self._jobs) if job.done()]

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
