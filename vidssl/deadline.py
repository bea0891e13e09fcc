"""deadline: how long a file may take. A damaged file, or a disk that does not answer, must not hold up all the others."""

from __future__ import annotations

import os
import threading
import time

from vidssl.types import VidsslError

FILE_SECONDS = 60.0  # for any file
SECONDS_A_MIB = 1.0  # more for each MiB of it: a slow disk may need that
SECONDS_A_FRAME = 1.0  # more for each frame that came: a busy machine may need that for a large one


class FileTimeoutError(VidsslError):
    """A file took longer than it may. path: of the file."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class JobAbandoned(BaseException):
    """Ends a job that nobody waits for any more: its place was taken by another, so it must not go on with the next
    file.
    """


class Deadline:
    """When the work of one thread on one file has to end.

    That is `seconds` after it began, and SECONDS_A_MIB and SECONDS_A_FRAME later for what is read and what comes of it.
    """

    _of: dict[int, Deadline] = {}  # noqa: RUF012 - one for each thread that works on a file

    def __init__(self, path: str | os.PathLike[str], size: int, seconds: float) -> None:
        self.path, self.seconds = os.fspath(path), seconds
        self._began = time.monotonic()
        self._end = self._began + seconds + SECONDS_A_MIB * size / 2**20
        self._depth = 0
        self._abandoned = False

    @classmethod
    def enter(cls, path: str | os.PathLike[str], size: int, seconds: float | None = None) -> Deadline:
        """The deadline under which this thread works from now on, until `leave`; within another one, that one.

        size: bytes that may have to be read. seconds: None takes FILE_SECONDS.
        """
        thread = threading.get_ident()
        deadline = cls._of.get(thread)
        if deadline is None:
            deadline = cls._of[thread] = cls(path, size, FILE_SECONDS if seconds is None else seconds)
        deadline._depth += 1
        return deadline

    def leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._of.pop(threading.get_ident(), None)

    def __enter__(self) -> Deadline:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @classmethod
    def of(cls, thread: int) -> Deadline | None:
        """The deadline of a thread, where it works on a file."""
        return cls._of.get(thread)

    @property
    def left(self) -> float:
        """Seconds until the end, negative behind it."""
        return self._end - time.monotonic()

    def add_frames(self, frames: int) -> None:
        """So many more frames came. Raises as `check` does."""
        self._end += SECONDS_A_FRAME * frames
        self.check()

    def check(self) -> None:
        """Raises FileTimeoutError behind the end, and JobAbandoned after `abandon`."""
        if self._abandoned:
            raise JobAbandoned
        if self.left < 0:
            raise self.timeout_error()

    def abandon(self) -> FileTimeoutError:
        """Nobody waits for this any more. Returns why."""
        self._abandoned = True
        return self.timeout_error()

    def timeout_error(self) -> FileTimeoutError:
        return FileTimeoutError(
            self.path,
            f"it takes more than the {self._end - self._began:.0f} seconds that a file of its size may take; "
            f"look what is wrong with it, or allow more than file_timeout={self.seconds:g}",
        )


def check_timeout(where: str, seconds: float | None) -> None:
    """Raises VidsslError where `seconds` is no time that a file may take."""
    if seconds is not None and not seconds > 0:
        raise VidsslError(
            f"{where}: file_timeout={seconds!r}: take seconds above 0 (inf: no limit), or None for {FILE_SECONDS:g}"
        )
