"""A clock for limits of time. It stands still while this process is stopped: by Ctrl-Z, a debugger, or a batch system
that suspends it.

No clock of Linux leaves such stops out. So threads that watch limits look at it every second or so, and it goes on by
no more than a few seconds between two looks. Without such a thread it is time.monotonic.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 5.0  # seconds by which it goes on between two looks; threads of a busy machine may be late by a few


class AwakeClock:
    """The clock of this process; see above."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds, self._looked, self._watchers = 0.0, time.monotonic(), 0

    def seconds(self) -> float:
        """Seconds since an arbitrary moment."""
        with self._lock:
            return self._seconds + self._passed()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While the block runs, its thread calls `look` every second or so."""
        with self._lock:
            self._go_on()
            self._watchers += 1
        try:
            yield
        finally:
            with self._lock:
                self._go_on()
                self._watchers -= 1

    def looks(self, end: threading.Event, seconds: float) -> Iterator[None]:
        """Looks at the clock every so many seconds until the event is set, each time before it yields."""
        with self.watched():
            while not end.wait(seconds):
                self.look()
                yield

    def look(self) -> None:
        """Shows that the process is awake."""
        with self._lock:
            self._go_on()

    def _passed(self) -> float:
        passed = time.monotonic() - self._looked
        return min(passed, MOST) if self._watchers else passed

    def _go_on(self) -> None:
        self._seconds, self._looked = self._seconds + self._passed(), time.monotonic()


CLOCK = AwakeClock()
# A child has none of the threads that watch, and its lock may have been held.
os.register_at_fork(after_in_child=CLOCK.__init__)  # type: ignore[misc]
