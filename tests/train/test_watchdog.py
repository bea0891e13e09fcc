"""The watchdog ends a run whose loader hangs, and a request to stop is seen without ending the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.train.processes import CLIPS, ROOT
from vidssl.index.table import VideoIndex
from vidssl.train.watchdog import HUNG, stop_requests

HANGS = """
import sys, time
from pathlib import Path
from vidssl.loader import worker
from vidssl.cli import main
real = worker.decode_assemble

def hangs(video, *rest, **options):
    if video.path.name == "4_g1.avi":
        time.sleep(3600)
    return real(video, *rest, **options)

worker.decode_assemble = hangs
sys.exit(main(sys.argv[1:]))
"""


def test_a_loader_that_hangs_is_named_and_ends_the_run(index: VideoIndex, tmp_path: Path) -> None:
    small = (*CLIPS, "--workers", "1")
    command = [
        sys.executable,
        "-c",
        HANGS,
        "train",
        "vcop_r3d_tiny",
        "--data",
        str(index.root),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [*command, *small, "--steps", "50", "--timeout", "2", "--threads", "1", "--amp", "off", "--holdout", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == HUNG, done.stderr
    assert "timeout=2: no batch arrived within 2 s; the loader waits for 1 window" in done.stderr
    assert "4_g1.avi frames" in done.stderr
    assert "in hangs" in done.stderr  # where the worker is


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_a_request_and_a_second_ctrl_c_stops_at_once(number: signal.Signals) -> None:
    """Batch systems and torchrun both pass a signal on, so it comes twice."""
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert (stop.is_set(), stop.signal) == (False, 0)
        os.kill(os.getpid(), number)
        assert (stop.is_set(), stop.signal) == (True, number)
        for again in (signal.SIGTERM, signal.SIGUSR1):
            signal.raise_signal(again)
        assert stop.signal == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


def test_another_thread_gets_no_signals() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stop_requests() as stop:
            seen.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
