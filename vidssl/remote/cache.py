"""Pieces of remote files in a local folder of bounded size, which all processes of a machine may share.

fsspec's own caches have no bound, and keep one list of all files that each process writes over those of the others
(`filecache`, `blockcache`), or do not notice that a file has changed (`simplecache`). Here, a piece is a file of its
own, named by what it holds: it appears whole or not at all, is never changed, and may be deleted at any time. The
pieces that were not used for the longest time are deleted first.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from vidssl.paths import parse_bytes, readable

FOLDER, LIMIT = "VIDSSL_REMOTE_CACHE", "VIDSSL_REMOTE_CACHE_LIMIT"
_DEFAULT = "20GB"
_KEPT = 7 / 8  # of the limit, after pieces were deleted
_SUM = 4  # bytes of the CRC-32 at the end of each piece
_LEFT = 3600.0  # seconds after which a file that was never finished is deleted
log = logging.getLogger(__name__)


def cache() -> Cache:
    """The cache that the environment names: VIDSSL_REMOTE_CACHE=FOLDER and VIDSSL_REMOTE_CACHE_LIMIT=20GB; 0 keeps
    nothing.

    Raises:
        VidsslError: The limit is no number of bytes.
    """
    folder = os.environ.get(FOLDER) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vidssl", "remote"
    )
    return _cache(folder, os.environ.get(LIMIT) or _DEFAULT)


@lru_cache(maxsize=8)
def _cache(folder: str, limit: str) -> Cache:
    return Cache(Path(folder), parse_bytes(limit, LIMIT))


class Cache:
    """Pieces by key. Safe in several threads and processes.

    Args:
        folder: Where the pieces are. It must be on a disk of this machine.
        limit: Most bytes of all pieces.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit, self._failed = folder, limit, False

    def get(self, key: str, size: int) -> bytes | None:
        """The bytes that were put under a key; None if they are not there, or damaged."""
        if not self.limit:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        found = data[:-_SUM]
        whole = len(found) == size and zlib.crc32(found).to_bytes(_SUM, "big") == data[-_SUM:]
        return found if whole else None

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes, and delete others if all would take more than the limit. A full disk keeps nothing."""
        total = len(data) + _SUM
        if total > self.limit * (1 - _KEPT):  # it would push out too much
            return
        path = self._path(key)
        aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside.write_bytes(data + zlib.crc32(data).to_bytes(_SUM, "big"))
            with self._counted() as count:
                count[0] += total
                if count[0] > self.limit:
                    count[0] = self._drop() + total
                aside.replace(path)
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            if not self._failed:
                log.warning("%s=%s: %s; what is read from now on is not kept", FOLDER, self.folder, error)
            self._failed = True

    def _path(self, key: str) -> Path:
        return self.folder / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """Yield a list with the bytes of all pieces, which is written back; no other process counts meanwhile."""
        handle = os.open(self.folder / ".bytes", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            text = os.pread(handle, 32, 0)
            count = [int(text) if text.strip().isdigit() else self._drop()]
            yield count
            os.pwrite(handle, b"%032d" % count[0], 0)
        finally:
            os.close(handle)

    def _drop(self) -> int:
        """Delete the pieces that were not used for the longest time. Returns the bytes of those that are left."""
        found, total, now = [], 0, time.time()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                try:
                    about = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it has been given its name, or was deleted
                    continue
                if entry.name.endswith(".partial"):
                    if now - about.st_mtime > _LEFT:
                        Path(entry.path).unlink(missing_ok=True)
                elif not entry.name.startswith("."):
                    found.append((about.st_mtime_ns, about.st_size, entry.path))
                    total += about.st_size
        for _, size, path in sorted(found):
            if total <= self.limit * _KEPT - size:
                break
            Path(path).unlink(missing_ok=True)
            total -= size
        log.debug("%s: %s are left", self.folder, readable(total))
        return total
