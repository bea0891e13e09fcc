"""What the machine lacks, such as file descriptors or memory, says nothing about the video that could not be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from vidssl.types import VidsslError

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)  # of this process, of the machine


class ExhaustedError(VidsslError):
    """The machine lacks something, so that no video is read any more. The video that was asked for may be fine."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, the one that caused it, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # an error may name itself as its cause
        yield error
        seen.append(error)
        error = error.__cause__


def exhausted(error: BaseException, path: str | os.PathLike[str]) -> ExhaustedError | None:
    """Returns an error that says what to do if an error while reading a video came from a lack of descriptors."""
    for cause in causes(error):
        if isinstance(cause, ExhaustedError):
            return cause
        if getattr(cause, "errno", None) in _EXHAUSTED:
            return ExhaustedError(
                f"{os.fspath(path)}: too many open files; the video is not to blame, but no other one could be read "
                "either: raise the limit (`ulimit -n`) or take fewer workers, and go on from the last checkpoint"
            )
    return None


@contextmanager
def lacking(path: str | os.PathLike[str], what: str, fix: str) -> Iterator[None]:
    """Raises ExhaustedError in the place of any error while something is made that no video is to blame for.

    Args:
        path: The video that was asked for.
        what: What cannot be done for it.
        fix: What to do, unless descriptors ran out.
    """
    try:
        yield
    except (OSError, RuntimeError, VidsslError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise exhausted(error, path) or ExhaustedError(
            f"{os.fspath(path)}: {what} ({reason}); the video is not to blame, but no other one could be read either: "
            f"{fix}, and go on from the last checkpoint"
        ) from error
