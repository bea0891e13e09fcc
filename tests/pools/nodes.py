"""A Ray cluster of two nodes on this machine, each of one core, which can be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_MARK = "VIDSSL_TEST_NODES"
_STARTED = 180  # seconds that a node may take to start
# Ray gives its workers niceness 15: on a busy machine they would hardly run.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}


class Nodes:
    """A context manager. Its end kills all processes of the cluster.

    Args:
        environment: Variables of the nodes.

    Attributes:
        address: HOST:PORT of the head.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = _ENVIRONMENT | environment
        self._folder = Path(tempfile.mkdtemp(prefix="nodes", dir="/tmp"))  # a short path, as sockets are in it
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._second: set[int] = set()
        try:
            self._start("--head", "--port", str(port), "--include-dashboard=false", "--temp-dir", str(self._folder))
            self.add_second()
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def add_second(self) -> None:
        """Starts the second node."""
        before = self._raylets()
        self._start("--address", self.address)
        self._second = self._raylets() - before

    def kill_second(self) -> None:
        """Kills the second node, with its workers."""
        _kill(self._second | _children(self._second))

    def workers_of_second(self) -> set[int]:
        """The processes that the second node started."""
        return _children(self._second)

    def _start(self, *options: str) -> None:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--num-cpus", "1", "--disable-usage-stats"]
        subprocess.run(
            [*command, "--object-store-memory", "200000000", *options],
            check=True,
            capture_output=True,
            timeout=_STARTED,
            env=os.environ | self._environment | {"PYTHONPATH": os.pathsep.join(sys.path), _MARK: str(self._folder)},
        )

    def _processes(self) -> set[int]:
        """The processes of this cluster, which have its folder in their environment; some change their command line."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"{_MARK}={self._folder}".encode() in path.read_bytes().split(b"\0"):
                    found.add(int(path.parent.name))
        return found

    def _raylets(self) -> set[int]:
        return {number for number in self._processes() if os.path.basename(_program(number)) == "raylet"}

    def _end(self) -> None:
        raylets = self._raylets()
        _kill(raylets | _children(raylets))  # first, as they start others
        while processes := self._processes():
            _kill(processes)
            time.sleep(0.1)
        shutil.rmtree(self._folder, ignore_errors=True)


def _program(process: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{process}/exe")
    return ""


def _children(processes: set[int]) -> set[int]:
    """The processes that these started; some overwrite their environment with a title."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) in processes:
                found.add(int(path.parent.name))
    return found


def _kill(processes: set[int]) -> None:
    for number in processes:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
