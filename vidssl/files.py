"""Opens files that others made: only regular files, and only up to a maximum size.

Opening a named pipe waits for a writer, and a device such as /dev/zero never ends. The kind of a file is therefore
checked before the file is opened.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEXT_BYTES = 2**28  # the longest text that is read at once; a list of two million paths is shorter
LINE_BYTES = 2**24  # the longest line of a record, which may have any number of lines

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def stat_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Return the status of a regular file. Links are followed.

    Raises:
        OSError: The path does not exist, or is not a regular file. The file is not opened.
    """
    found = path.stat() if isinstance(path, Path) else os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))
    return found


def read_bytes(path: Path, limit: int = TEXT_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: The path is not a regular file, or is longer than `limit` bytes.
    """
    size = stat_regular(path).st_size
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, but the limit is {limit}", os.fspath(path))
    with path.open("rb") as file:
        data = file.read(limit + 1)  # the file may have grown, and files in /proc report no size
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than the limit of {limit} bytes", os.fspath(path))
    return data


def read_text(path: Path, encoding: str = "utf-8", limit: int = TEXT_BYTES) -> str:
    """Return the text of a regular file with its line ends converted to "\\n".

    Raises:
        OSError: As in `read_bytes`.
        UnicodeDecodeError: The content is not text in this encoding.
    """
    return read_bytes(path, limit).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def byte_lines(path: Path, limit: int = LINE_BYTES) -> Iterator[bytes]:
    """Yield the lines of a regular file, with their ends, of which one at a time is in memory.

    Raises:
        OSError: The path is not a regular file, or a line is longer than `limit` bytes.
    """
    stat_regular(path)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit:
                raise OSError(errno.EFBIG, f"line {number} is longer than {limit} bytes", os.fspath(path))
            yield line


def parse_json(data: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The data is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error
