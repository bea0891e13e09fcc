"""A process that decodes windows for another one (vidssl.loader.processes), into memory that both share.

It imports neither torch nor DALI, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.deadline import Deadline
from vidssl.video.decode import Video, decode
from vidssl.video.exhausted import ExhaustedError, exhausted, lacking

_TICK = 0.5  # seconds between two messages about the progress of a job
_FIX = "take fewer workers, or raise the limits of memory and of open files (`ulimit -v`, `ulimit -n`)"
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Job(NamedTuple):
    """A window to decode.

    Attributes:
        video: The video.
        numbers: Numbers of its frames, as `decode` takes them.
        block: Number of the block of shared memory that the frames go to.
        size: Bytes of this block, if its file descriptor follows the job; 0 if this process has it already.
        dropped: Numbers of blocks that are no longer used.
    """

    video: Video
    numbers: npt.NDArray[np.int64]
    block: int
    size: int
    dropped: tuple[int, ...] = ()


class Progress(NamedTuple):
    """What is sent while a job is worked on: the number of frames that were decoded since the last message."""

    frames: int


Answer = Exception | Progress | None  # None: the frames are in the block


class _Reports(Deadline):
    """The deadline of a job. It never ends here: it tells the other process, which gives the job up if it must."""

    tell: Callable[[Progress], None]
    _told, _frames = 0.0, 0

    def add_frames(self, frames: int) -> None:
        self._frames += frames
        now = time.monotonic()
        if now - self._told > _TICK:
            self.tell(Progress(self._frames))
            self._told, self._frames = now, 0


def serve(descriptor: int) -> None:
    """Decode every `Job` that comes through a socket, and send an `Answer`, until the other process closes the socket.

    Args:
        descriptor: File descriptor of the socket.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process, which then closes the socket
    blocks: dict[int, mmap.mmap] = {}
    with Connection(descriptor) as other:
        while True:
            try:
                job: Job = other.recv()
                for number in job.dropped:
                    del blocks[number]
                if job.size:
                    try:
                        with lacking(job.video.path, "the process that decodes it gets no memory", _FIX):
                            handle = recv_handle(other)
                            blocks[job.block] = mmap.mmap(handle, job.size)
                    except ExhaustedError as error:
                        other.send(error)
                        return  # what else was sent for this job is unknown
                    os.close(handle)
                other.send(_answer(job, blocks[job.block], other.send))
            except (EOFError, OSError):
                return


def _answer(job: Job, block: mmap.mmap, tell: Callable[[Progress], None]) -> Answer:
    def allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        return np.frombuffer(block, np.uint8, math.prod(shape)).reshape(shape)

    deadline = _Reports.enter(job.video.path, 0, math.inf)
    assert isinstance(deadline, _Reports)
    deadline.tell = tell
    try:
        with deadline:
            decode(job.video, job.numbers, allocate=allocate)
    except Exception as error:
        return exhausted(error, job.video.path) or error  # what caused an error does not come through the socket
    return None
