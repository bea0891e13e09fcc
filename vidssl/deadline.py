"""Limits the time that one file may take.

A damaged file, or a disk that does not answer, must not delay all other files.
"""

from __future__ import annotations

import os
import threading
from numbers import Real

from vidssl.awake import CLOCK
from vidssl.types import VidsslError

FILE_SECONDS = 60.0  # base time of every file
SECONDS_A_MIB = 1.0  # additional time per MiB of the file, for slow disks
SECONDS_A_FRAME = 1.0  # additional time per decoded frame, for large frames on a busy machine


class FileTimeoutError(VidsslError):
    """A file took longer than its time limit.

    Attributes:
        path: The file.
        reason: The message without the path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class JobAbandoned(BaseException):
    """Ends a job that was given up.

    Another thread has replaced the thread of the job, so it must not go on to the next file.
    """


class Deadline:
    """The time by which one thread must finish its work on one file.

    The limit is `seconds` after the start, plus SECONDS_A_MIB per MiB to read and SECONDS_A_FRAME per decoded frame.
    While the process is stopped, no time passes (vidssl.awake).
    """

    _of: dict[int, Deadline] = {}  # noqa: RUF012 - by thread: the deadline of the file it works on

    def __init__(self, path: str | os.PathLike[str], size: int, seconds: float) -> None:
        self.path, self.seconds = os.fspath(path), seconds
        self._began = CLOCK.seconds()
        self._end = self._began + seconds + SECONDS_A_MIB * size / 2**20
        self._depth = 0
        self._abandoned = False

    @classmethod
    def enter(cls, path: str | os.PathLike[str], size: int, seconds: float | None = None) -> Deadline:
        """Start a deadline for the current thread, until `leave`. If the thread already has one, that deadline applies.

        Args:
            path: The file.
            size: Number of bytes that may have to be read.
            seconds: Time limit in seconds. None takes FILE_SECONDS.
        """
        thread = threading.get_ident()
        deadline = cls._of.get(thread)
        if deadline is None:
            deadline = cls._of[thread] = cls(path, size, FILE_SECONDS if seconds is None else seconds)
        deadline._depth += 1
        return deadline

    def leave(self) -> None:
        """End the work that the matching `enter` began."""
        self._depth -= 1
        if not self._depth:
            self._of.pop(threading.get_ident(), None)

    def __enter__(self) -> Deadline:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @classmethod
    def of(cls, thread: int) -> Deadline | None:
        """The deadline of a thread, or None if the thread does not work on a file."""
        return cls._of.get(thread)

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._end - CLOCK.seconds()

    def add_frames(self, frames: int) -> None:
        """Extend the deadline for newly decoded frames, then check it. Raises the errors of `check`."""
        self._end += SECONDS_A_FRAME * frames
        self.check()

    def extend(self, seconds: float) -> None:
        """Extend the deadline by time in which the job waited for others, then check it. Raises as `check`."""
        self._end += seconds
        self.check()

    def check(self) -> None:
        """Check the deadline.

        Raises:
            FileTimeoutError: The deadline has passed.
            JobAbandoned: `abandon` was called.
        """
        if self._abandoned:
            raise JobAbandoned
        if self.left < 0:
            raise self.timeout_error()

    def abandon(self) -> FileTimeoutError:
        """Give up the job, so that its next `check` ends it. Returns the error to report."""
        self._abandoned = True
        return self.timeout_error()

    def timeout_error(self) -> FileTimeoutError:
        """The error to raise or report when the deadline has passed."""
        return FileTimeoutError(
            self.path,
            f"it took longer than the {self._end - self._began:.0f} seconds that a file of its size may take; "
            f"check the file, or raise file_timeout={self.seconds:g}",
        )


def check_timeout(where: str, seconds: float | None) -> None:
    """Check a time limit given by the user.

    Raises:
        VidsslError: `seconds` is no number above 0.
    """
    if seconds is not None and not (isinstance(seconds, Real) and seconds > 0):
        raise VidsslError(
            f"{where}: file_timeout={seconds!r}: pass seconds above 0 (inf: no limit), or None for {FILE_SECONDS:g}"
        )
