"""What depends on the machine and not on the file.

The status of such a row begins with NOT_READ. Its file is read again at the end of a build, and by every later build:
its row is never taken from an index or a journal. A file over its time limit is only read again by later builds, as it
may take its whole time again.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import av
import pyarrow as pa
import pyarrow.compute as pc

from vidssl.index.schema import SCHEMA
from vidssl.video.exhausted import causes

# Errors that say nothing about the file.
MACHINE = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "permission denied"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "too many open files"),
    **dict.fromkeys((errno.ENOMEM,), "out of memory"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space left"),
    **dict.fromkeys((errno.EIO, errno.EREMOTEIO, errno.ENODEV), "the disk cannot be read"),
    **dict.fromkeys(
        (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT), "its file system does not answer"
    ),
    **dict.fromkeys((errno.EINTR, errno.EBUSY, errno.ENOLCK, errno.EAGAIN), "the system is busy"),
}
NOT_READ = "not read: "
_LATE = f"{NOT_READ}it took longer"  # as the reason of a FileTimeoutError begins
# FFmpeg has these from the system. EPERM is not one of them: it is -1, which decoders return for damaged frames.
_BY_SYSTEM = (errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def retries(status: str) -> bool:
    """Return True if a file with this status is read again at the end of a build."""
    return status.startswith(NOT_READ) and not status.startswith(_LATE)


def not_read(table: pa.Table) -> list[tuple[str, str]]:
    """(path, reason) for every row of an index whose file could not be read, so that nothing is known about it."""
    late = table.filter(pc.starts_with(table["status"], NOT_READ))
    reasons = (status.removeprefix(NOT_READ) for status in late["status"].to_pylist())
    return list(zip(late["path"].to_pylist(), reasons, strict=True))


def certain(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of earlier indices and journals that depend on their files alone."""
    table = pa.concat_tables([SCHEMA.empty_table(), *(one.replace_schema_metadata(None) for one in tables)])
    late = pc.starts_with(table["status"], NOT_READ)
    return table.filter(pc.invert(late)) if pc.any(late).as_py() else table  # to filter copies the table


def machine_reason(error: BaseException, path: Path) -> str | None:
    """Find out whether the machine, and not the file, caused an error.

    FFmpeg answers EIO, among others, for damaged files too. The file is then the cause if all of it can be read.

    Args:
        error: The error. The errors that caused it are looked at too.
        path: The file that was read.

    Returns:
        The reason, or None if the file is the cause.
    """
    for one in causes(error):
        if isinstance(one, MemoryError):
            return MACHINE[errno.ENOMEM]
        if isinstance(one, (OSError, av.FFmpegError)) and one.errno in MACHINE:
            known = not isinstance(one, av.FFmpegError) or one.errno in _BY_SYSTEM
            return MACHINE[one.errno] if known else _reading_error(path)
    return None


def _reading_error(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            while file.read(2**22):
                pass
    except OSError as error:
        return MACHINE.get(error.errno or 0)
    return None
