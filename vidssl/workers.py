"""Threads for jobs on files.

A thread that hangs neither delays the other threads nor keeps the process alive.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from vidssl.awake import CLOCK
from vidssl.deadline import Deadline
from vidssl.types import VidsslError

T = TypeVar("T")

_TICK = 1.0  # seconds between two checks of the deadlines
_GRACE = 5.0  # seconds after its deadline in which a job can still report the timeout itself
_JOINED = 10.0  # seconds in which threads may finish their jobs on closing
_ABANDONED = 1.0  # the same after an error or Ctrl-C

_Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]
_ALL: weakref.WeakSet[_Crew] = weakref.WeakSet()


class Workers:
    """A pool of `count` threads, like the pool of concurrent.futures with two differences.

    First, a job long past its deadline (vidssl.deadline) hangs in a call that nothing can end, such as a read from
    a disk that does not answer. Its future then fails with FileTimeoutError, and a new thread replaces the hanging one.
    Second, the threads are daemons: the process exits without waiting for hanging threads.

    This is a context manager. If the block raises, running jobs end at their next frame, and are hardly waited for.
    """

    def __init__(self, count: int, name: str) -> None:
        self._crew, self._name, self._process = _Crew(count, name), name, os.getpid()
        weakref.finalize(self, self._crew.end)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Queue a call and return its future. Raises the error of `check_process`."""
        self.check_process()
        future: Future[T] = Future()
        self._crew.jobs.put((future, function, arguments))
        return future

    def check_process(self) -> None:
        """Check that this process has the threads: a forked child has none of its parent's, and would wait for ever.

        Raises:
            VidsslError: This process is a fork of the one that made the pool.
        """
        if os.getpid() != self._process:
            raise VidsslError(
                f"{self._name}: process {os.getpid()} is a fork of process {self._process}, and has none of its "
                "threads; make the Loader after the fork, in the process that uses it"
            )

    def close(self) -> None:
        """Drop the jobs that have not started, and wait a few seconds for those that have."""
        self._crew.end()
        self._crew.join(_JOINED)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        self._crew.end()
        self._crew.abandon()
        self._crew.join(_ABANDONED)


def running() -> bool:
    """Return True if a thread of any pool still works on a job."""
    return any(crew.is_working() for crew in list(_ALL))


class _Crew:
    """The state that the threads share. It does not refer to the Workers, so that unused Workers are collected."""

    def __init__(self, count: int, name: str) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._count, self._name = count, name
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._doing: dict[int, Future[Any]] = {}  # the running job, by thread
        self._ended = threading.Event()
        for _ in range(count):
            self._start()
        self._watcher = threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True)
        self._watcher.start()
        _ALL.add(self)

    def end(self) -> None:
        """Start no new jobs. Returns at once."""
        self._ended.set()
        with suppress(Empty):  # a thread may take a job at the same time
            while True:
                job = self.jobs.get_nowait()
                if job is not None:
                    job[0].cancel()
        for _ in range(self._count):
            self.jobs.put(None)

    def is_working(self) -> bool:
        return bool(self._doing)

    def abandon(self) -> None:
        for thread in list(self._doing):
            deadline = Deadline.of(thread)
            if deadline is not None:
                deadline.abandon()

    def join(self, seconds: float) -> None:
        """Wait for the threads, also for those that have returned from their last job but have not ended yet."""
        until = time.monotonic() + seconds
        for thread in [*self._threads, self._watcher]:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None and self._do(*job):
            del job  # free what the job holds while waiting for the next one

    def _do(self, future: Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
        """Run a job. Returns False if this thread was given up in the meantime and must end."""
        if not future.set_running_or_notify_cancel():
            return True
        thread = threading.get_ident()
        with self._lock:
            self._doing[thread] = future
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as raised:
            error = raised
        with self._lock:
            mine = self._doing.pop(thread, None) is future
        if mine and error is None:
            future.set_result(result)
        elif mine:
            future.set_exception(error)
        return mine

    def _watch(self) -> None:
        for _ in CLOCK.looks(self._ended, _TICK):
            self._replace_late()

    def _replace_late(self) -> None:
        """Gives up the jobs that are long past their deadline, and replaces their threads."""
        for thread, future in list(self._doing.items()):
            deadline = Deadline.of(thread)
            if deadline is None or deadline.left > -_GRACE:
                continue
            with self._lock:
                if self._doing.get(thread) is not future:
                    continue
                del self._doing[thread]
                late = deadline.abandon()
            self._threads = {one for one in self._threads if one.ident != thread}
            self._start()
            future.set_exception(late)


os.register_at_fork(after_in_child=_ALL.clear)  # a child has no threads to end


@atexit.register
def _end_all() -> None:
    """End all threads at exit: a thread that returns to a finalized interpreter would crash the process."""
    for crew in list(_ALL):
        crew.end()
    for crew in list(_ALL):
        crew.join(_JOINED)
