"""How a run ends early: a request to stop ends it after the current step, a watchdog if the loader hangs."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from vidssl.awake import CLOCK
from vidssl.paths import printable

_ASK = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last one is what batch systems send before they end a job
HUNG = 3  # exit code of a run whose loader took longer than the timeout


class StopRequest(threading.Event):
    """Is set by a request to stop.

    Attributes:
        signal: Number of the signal that made the request; 0 before that.
    """

    signal: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turns Ctrl-C, SIGTERM and SIGUSR1 into a request to stop after the current step; a second Ctrl-C stops at once.

    Other signals may come twice: Slurm gives them to every process of a job, and torchrun passes on those that it gets.

    Yields:
        The event that such a request sets. Outside of the main thread, which alone receives signals, nothing sets it.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        stop.signal = number
        stop.set()

    before = {number: signal.signal(number, request) for number in _ASK}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watchdog:
    """Ends the process with exit code HUNG when a wait exceeds the timeout, and prints the stack of every thread.

    While the process is stopped, no time passes (vidssl.awake).

    It does not raise an exception: Python joins threads at exit, so a thread that hangs would hang the exit too.

    Args:
        seconds: The timeout.
        waits_for: Returns what the run waits for, in words.
    """

    def __init__(self, seconds: float, waits_for: Callable[[], str]) -> None:
        self._seconds, self._waits_for = seconds, waits_for
        self._since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vidssl-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Watches the block: it has to end before the timeout."""
        self._since = CLOCK.seconds()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        for _ in CLOCK.looks(self._end, min(1.0, self._seconds / 4)):
            since = self._since
            if since is not None and CLOCK.seconds() - since > self._seconds:
                what = (
                    f"timeout={self._seconds:g}: no batch arrived within {self._seconds:g} s; "
                    f"the loader waits for {printable(self._waits_for())}"
                )
                print(f"error: train: {what}. Stack of each thread:", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                hint = "--resume continues from the latest checkpoint, or from step 0 if there is none"
                print(hint, file=sys.stderr, flush=True)
                os._exit(HUNG)
