"""Copies a local folder to a remote one, as far as it is not there yet."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path

from vidssl.files import byte_lines, parse_json
from vidssl.paths import open_append
from vidssl.remote import fetch
from vidssl.remote.path import RemotePath

_RECORD = ".uploaded.jsonl"  # in the folder: what was uploaded, as it was then


def upload(folder: Path, target: RemotePath, names: Sequence[str]) -> int:
    """Upload files that are not there, or that have changed since they were uploaded. A call that was interrupted
    continues.

    Args:
        folder: The folder.
        target: The remote folder. What else is in it stays.
        names: Paths of the files below the folder, in the order in which they appear there.

    Returns:
        Number of files that were uploaded.

    Raises:
        OSError: The server refuses, or does not answer in several attempts.
    """
    fetch.forget()
    there = set(fetch.find(str(target)))
    sent = set(_recorded(folder / _RECORD))
    count = 0
    with open_append(folder / _RECORD) as record:
        for name in names:
            about, url = (folder / name).stat(), f"{target}/{name}"
            key = (url, about.st_size, about.st_mtime_ns)
            if key in sent and url in there and fetch.info(url).size == about.st_size:
                continue
            fetch.call(url, "put_file", str(folder / name), url)
            fetch.forget()
            if fetch.info(url).size != about.st_size:
                raise OSError(errno.EIO, f"{fetch.info(url).size} of {about.st_size} bytes arrived", url)
            record.write(json.dumps(key) + "\n")
            count += 1
    return count


def _recorded(path: Path) -> list[tuple[str, int, int]]:
    if not path.is_file():
        return []
    found = []
    for line in byte_lines(path):
        try:
            about = parse_json(line)
        except ValueError:  # the last line of an interrupted call
            continue
        match about:
            case [str(url), int(size), int(time)]:
                found.append((url, size, time))
    return found
