"""Decodes windows in processes, one for each thread that asks: Python lets one thread at a time run in each of them.

The frames come back in shared memory, which a GPU's driver may have pinned, without a copy.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

import numpy as np
import numpy.typing as npt

from vidssl.deadline import Deadline
from vidssl.types import Frames, planar_shape
from vidssl.video.decode import Video
from vidssl.video.exhausted import exhausted, lacking
from vidssl.video.packets import DecodeError
from vidssl.video.serve import Answer, Job, Progress

Pin = Callable[[npt.NDArray[np.uint8]], Callable[[], None]]  # pins memory, and returns what unpins it

_TICK = 0.5  # seconds between two looks at the deadline
_GRAIN = 2**20  # bytes: blocks are multiples of this, so that windows of nearly one size share them
_WASTE = 4  # a window takes no block of more than this times its size
# Of numpy, which the processes hardly use: one thread for each core in each process would be many, even if they sleep.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
_FEWER = "take fewer workers, or raise the limit of processes (`ulimit -u`)"
_MEMORY = "take fewer workers, or a machine with more memory"
_PROGRAM = "import sys; sys.path[:] = {path!r}; from vidssl.video.serve import serve; serve({descriptor})"


class Processes:
    """A `Decoder` whose every thread has a process of its own, which starts with its first window and ends with it.

    It gives the frames and the errors of `decode`. A process that dies is replaced; a file that two of them die on
    cannot be decoded. One that hangs is ended when the deadline of its thread is over. If no process can be started, or
    it gets no memory, that is an ExhaustedError: no video is to blame.

    Args:
        pin: Pins the memory of frames, for copies to a GPU; None leaves it as it is.
    """

    def __init__(self, pin: Pin | None = None) -> None:
        self._pin, self._own = pin, threading.local()

    def decode(self, video: Video, numbers: npt.NDArray[np.int64]) -> Frames:
        """As `decode`. The frames' memory is used again when nobody holds their array any more."""
        numbers = np.asarray(numbers, np.int64)
        size = math.prod(planar_shape(len(numbers), video.size))
        with Deadline.enter(video.path, video.bytes) as deadline:
            for died in (False, True):
                with lacking(video.path, "no process can be started to decode it", _FEWER):
                    process = self._process()
                with lacking(video.path, "there is no memory for its frames", _MEMORY):
                    block = process.take(size)
                try:
                    answer = process.decode(video, numbers, block, deadline)
                    break
                except (EOFError, OSError) as error:
                    self._own.process = None
                    reason = process.end()
                    if lack := exhausted(error, video.path):
                        raise lack from error
                    if died:
                        text = f"{video.path}: a process that decodes it ends each time: {reason}"
                        raise DecodeError(text) from error
                except BaseException:
                    self._own.process = None  # it may still write, and answer
                    process.end()
                    raise
        if isinstance(answer, Exception):
            raise answer
        return Frames(data=answer, number=numbers, size=video.size, space=video.space)

    def _process(self) -> _Process:
        """The process of this thread."""
        if getattr(self._own, "process", None) is None:
            self._own.process = _Process(self._pin)
        process: _Process = self._own.process
        return process


class _Block:
    """Shared memory, pinned if the driver was asked to."""

    _numbers = count()

    def __init__(self, size: int, pin: Pin | None) -> None:
        self.number, self.size = next(self._numbers), size
        self.descriptor, self._unpin = -1, None  # if it cannot be made
        self.descriptor = os.memfd_create("vidssl-frames")
        os.ftruncate(self.descriptor, size)
        self.memory = mmap.mmap(self.descriptor, size)
        self._unpin = pin(np.frombuffer(self.memory, np.uint8)) if pin is not None else None

    def sent(self) -> None:
        """Closes the descriptor, which the other process has by now."""
        os.close(self.descriptor)
        self.descriptor = -1

    def __del__(self) -> None:
        if self._unpin is not None:
            self._unpin()
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Process:
    """One process, and the blocks that it has."""

    def __init__(self, pin: Pin | None) -> None:
        self._pin = pin
        self._returned: deque[_Block] = deque()  # by whichever thread held the frames last
        self._free: list[_Block] = []  # the last one is warm
        self._dropped: list[int] = []  # numbers of blocks that the other process still has
        self._other, theirs = Pipe()
        with theirs:
            path = [str(entry) for entry in sys.path if isinstance(entry, str)]  # Python ignores all others too
            program = _PROGRAM.format(path=path, descriptor=theirs.fileno())
            self._child = subprocess.Popen(
                [sys.executable, "-c", program], pass_fds=[theirs.fileno()], env=os.environ | _ONE_THREAD
            )
        self._end = weakref.finalize(self, _ended, self._child, self._other)

    def end(self) -> str:
        """Ends it, and says how it ended before."""
        try:
            code = self._child.wait(_TICK)
        except subprocess.TimeoutExpired:
            return "it closed its socket"
        finally:
            self._end()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def decode(
        self, video: Video, numbers: npt.NDArray[np.int64], block: _Block, deadline: Deadline
    ) -> npt.NDArray[np.uint8] | Exception:
        """Decodes a window into a block that `take` returned. Returns its frames, or the error of `decode`.

        Raises:
            EOFError, OSError: The process is gone.
            FileTimeoutError, JobAbandoned: The deadline is over, or the thread was given up.
        """
        shape = planar_shape(len(numbers), video.size)
        new = block.descriptor >= 0
        self._other.send(Job(video, numbers, block.number, block.size if new else 0, tuple(self._dropped)))
        self._dropped.clear()
        if new:
            send_handle(self._other, block.descriptor, self._child.pid)
            block.sent()
        while True:
            if not self._other.poll(_TICK):
                deadline.check()
                continue
            answer: Answer = self._other.recv()
            if isinstance(answer, Progress):
                deadline.add_frames(answer.frames)
                continue
            if answer is not None:
                self._returned.append(block)
                return answer
            # Every view of the frames holds this array, as it is made from no other one; then the block is free again.
            data = np.frombuffer(block.memory, np.uint8, math.prod(shape))
            weakref.finalize(data, self._returned.append, block).atexit = False
            return data.reshape(shape)

    def take(self, size: int) -> _Block:
        """Returns a block of at least this size that nobody uses.

        A new one takes the place of a free one, if there is one: videos of many sizes then take no more blocks than
        those of one size.
        """
        while self._returned:
            self._free.append(self._returned.popleft())
        fitting = [block for block in reversed(self._free) if size <= block.size <= max(_WASTE * size, _GRAIN)]
        if fitting:
            block = min(fitting, key=lambda one: one.size)
            self._free.remove(block)
            return block
        if self._free:
            self._dropped.append(self._free.pop(0).number)
        return _Block(-(-size // _GRAIN) * _GRAIN, self._pin)


def _ended(child: subprocess.Popen[bytes], other: Connection) -> None:
    """Ends a process at once, and takes its exit code, so that no zombie is left."""
    other.close()
    child.kill()  # in a fork of this process, where it is nobody's child, this does nothing
    child.wait()
