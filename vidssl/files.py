"""files: the one place where a file that others made is opened. Only regular files are, and only up to a size is taken
into memory.

Opening a named pipe waits for a writer, and a device such as /dev/zero never ends; so a path is looked at before it is
opened.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

TEXT_BYTES = 2**28  # the longest text that is read: a list of two million paths has less

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def stat_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """What the system says of a regular file, through links. Raises OSError, before it is opened, where `path` is
    anything else.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))
    return found


def read_bytes(path: Path, limit: int = TEXT_BYTES) -> bytes:
    """The content of a regular file. Raises OSError where it is no such file, or is longer than `limit` bytes."""
    size = stat_regular(path).st_size
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, and at most {limit} are read", os.fspath(path))
    with path.open("rb") as file:
        data = file.read(limit + 1)  # it may have grown since, and files of /proc have no size
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than the {limit} bytes that are read", os.fspath(path))
    return data


def read_text(path: Path, encoding: str = "utf-8", limit: int = TEXT_BYTES) -> str:
    """The text of a regular file, its line ends as "\\n". Raises OSError as `read_bytes` does, UnicodeDecodeError where
    it is no text.
    """
    return read_bytes(path, limit).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def parse_json(data: str | bytes) -> Any:
    """What JSON says. Raises ValueError where it is none, or is nested too deeply to be ours."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error
