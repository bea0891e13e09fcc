"""Calls a job on a node of a Ray cluster. Nothing of Ray is imported here: a node only needs what it is sent.

A job runs in a thread of its own, as in `vidssl.workers`, so that a file that hangs does not keep the node's process.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, get_ident
from typing import Any, Literal

from vidssl.deadline import Deadline, FileTimeoutError
from vidssl.pools.base import Job
from vidssl.remote import RemotePath
from vidssl.types import VidsslError
from vidssl.versions import versions
from vidssl.workers import Workers

Kind = Literal["result", "error", "late", "differs", "unseen"]
COMPARED = ("vidssl", "commit", "av", "numpy", "pyarrow")  # what an index, a new video or a store depends on
_TICK = 1.0  # seconds after which the time limit of a job that waits is moved


def run(wanted: dict[str, str], job: Job[Any], item: Any, file: Path) -> Iterator[tuple[Kind, Any]]:
    """Call a job, and yield what it gives as ("result", value).

    If it fails, yields last ("error", message) or, at its time limit, ("late", (path, reason)). If it must not be
    called here, yields only ("differs", why) or ("unseen", (name of the node, why)).

    Args:
        wanted: Versions that this node must have.
        job: The job.
        item: What it works on.
        file: The file that it reads.
    """
    if why := _differing(wanted):
        yield "differs", f"node {socket.gethostname()} has {why}"
        return
    if why := unreadable(file):
        yield "unseen", (socket.gethostname(), why)
        return
    # Only the job waits for room: its end is put from any thread, also from this one if it has ended by now.
    given: SimpleQueue[tuple[Any] | None] = SimpleQueue()
    room = Semaphore(1)
    future = _thread().submit(_work, job, item, given, room)
    future.add_done_callback(lambda _: given.put(None))
    while (one := given.get()) is not None:
        room.release()
        yield "result", one[0]
    error = future.exception()
    if isinstance(error, FileTimeoutError):
        yield "late", (error.path, error.reason)
    elif isinstance(error, VidsslError):
        yield "error", str(error)
    elif error is not None:
        raise error


def unreadable(file: Path) -> str:
    """Why this machine cannot read a file that others may read; "" if it can, or if only reading it can tell."""
    try:
        if isinstance(file, RemotePath):
            file.stat()
            return ""
        return "" if file.exists() else "no such file"
    except OSError as error:
        here = isinstance(file, RemotePath) and error.errno in (errno.EACCES, errno.ENOPKG)
        return str(error.strerror) if here else ""


def seen(folder: Path) -> tuple[str, str]:
    """Look for a folder. Returns the name of this node, and why it does not see the folder; "" if it does."""
    return socket.gethostname(), unreadable(folder)


def _work(job: Job[Any], item: Any, given: SimpleQueue[tuple[Any] | None], room: Semaphore) -> None:
    def give(value: Any) -> None:
        """Waits until the value before has been taken. The time limit of the file does not count this."""
        while not room.acquire(timeout=_TICK):
            if (deadline := Deadline.of(get_ident())) is not None:
                deadline.extend(_TICK)
        given.put((value,))

    job(item, give)


@lru_cache(1)
def _thread() -> Workers:
    return Workers(1, "vidssl-node")


@lru_cache(1)
def compared() -> dict[str, str]:
    """The versions that all nodes must share."""
    return {name: number for name, number in versions().items() if name in COMPARED}


def _differing(wanted: dict[str, str]) -> str:
    """How the versions here differ; "" if they do not. A copy without a commit is taken for any commit."""
    here = compared()
    return ", ".join(
        f"{name} {here.get(name, 'not installed')}, not {number}"
        for name, number in wanted.items()
        if here.get(name, number if name == "commit" else None) != number
    )
