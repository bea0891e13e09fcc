"""awake: limits of time leave out what a process did not run, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from vidssl import awake
from vidssl.awake import MOST, AwakeClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the system, which the test sets."""
    found = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: found[0])
    return found


def test_a_long_time_without_a_look_was_a_stop(now: list[float]) -> None:
    clock = AwakeClock()
    began = clock.seconds()
    with clock.watched():
        for _ in range(3):
            now[0] += 1
            clock.look()
        assert clock.seconds() - began == 3
        now[0] += 1000
        assert clock.seconds() - began == 3 + MOST  # whoever looks first
        clock.look()
        assert clock.seconds() - began == 3 + MOST
        now[0] += MOST / 2
        assert clock.seconds() - began == 3 + 1.5 * MOST


def test_without_a_watcher_all_time_counts(now: list[float]) -> None:
    clock = AwakeClock()
    began = clock.seconds()
    now[0] += 1000
    with clock.watched(), clock.watched():
        assert clock.seconds() - began == 1000
        now[0] += 1
    now[0] += 1000
    assert clock.seconds() - began == 2001


def test_a_fork_has_no_watchers_of_its_parent() -> None:
    with awake.CLOCK.watched():
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, str(awake.CLOCK._watchers).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 9) == b"0"
    os.close(read)
    os.close(write)


STOPPED = """
import time
from vidssl import awake, workers
from vidssl.deadline import Deadline

awake.MOST, workers._TICK = 0.5, 0.1


def work():
    with Deadline.enter("video.mp4", 0, 3.0) as deadline:
        print("began", flush=True)
        for _ in range(10):
            time.sleep(0.1)
            deadline.check()
    return "read"


with workers.Workers(1, "test") as pool:
    print(pool.submit(work).result(60), flush=True)
"""


def test_a_file_is_not_late_because_the_process_was_stopped() -> None:
    child = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "began\n"
    child.send_signal(signal.SIGSTOP)
    threading.Event().wait(5)
    child.send_signal(signal.SIGCONT)
    said, errors = child.communicate(timeout=60)
    assert (said, errors) == ("read\n", "")
