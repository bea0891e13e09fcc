"""Claims: which process works on what in the folder of a store, so that no video is kept twice.

A claim is a lock on one byte of a hidden file in the folder. The system frees it when its process ends in any way, also
by `kill -9`, and nobody waits for it. The file is deleted with the last claim.

Where a file system has no such locks, everybody gets every claim: a video may then be kept twice, which costs space.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
import threading
import weakref
from pathlib import Path

from vidssl.lock import is_at

FILE = ".claims"  # name of the file in the folder
_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: kind, whence, start, length, pid
_ALL: weakref.WeakSet[Claims] = weakref.WeakSet()


class Claims:
    """The claims of this process on what is in one folder. All methods may be called from several threads.

    Args:
        folder: The folder.

    Attributes:
        certain: False if the file system has no locks, so that a claim does not keep others away.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock, self.certain = folder / FILE, threading.RLock(), True
        self._handle: int | None = None
        self._held: set[int] = set()
        _ALL.add(self)

    def take(self, name: bytes) -> bool:
        """Claims what has this name. Returns False if another process, or this one, has claimed it.

        Raises:
            OSError: The folder cannot be written to.
        """
        place = _place(name)
        with self._lock:
            if place in self._held or not self._take(place):
                return False
            self._held.add(place)
            return True

    def release(self, name: bytes) -> None:
        """Gives a claim back."""
        place = _place(name)
        with self._lock:
            self._held.discard(place)
            if self._handle is None:
                return
            _lock(self._handle, fcntl.F_UNLCK, place, 1)
            if not self._held:
                self._close()

    def _take(self, place: int) -> bool:
        while self._open():
            assert self._handle is not None
            if not _lock(self._handle, fcntl.F_WRLCK, place, 1):
                return False
            if is_at(self._handle, self._path):
                return True
            os.close(self._handle)  # whoever had the last claim has just deleted it
            self._handle = None
        return True

    def _open(self) -> bool:
        """Opens the file. Returns False if there are no locks in this folder."""
        if self._handle is None and self.certain:
            try:
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            except PermissionError:
                if not os.access(self._path.parent, os.W_OK):
                    raise
                self.certain = False  # the file of another user
            else:
                self.certain = _lock(self._handle, fcntl.F_UNLCK, 0, 1) is not None
                if not self.certain:
                    self._close()
        return self.certain

    def _close(self) -> None:
        """Closes the file, and deletes it if nobody has a claim."""
        assert self._handle is not None
        # A lock on all of it is refused while anybody else has a claim.
        free = not self.certain or _lock(self._handle, fcntl.F_WRLCK, 0, 0)
        if free and is_at(self._handle, self._path):
            self._path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = None


def _place(name: bytes) -> int:
    """The byte that stands for a name."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 2


def _lock(handle: int, kind: int, start: int, length: int) -> bool | None:
    """Changes the lock of some bytes. Returns False if another process has them, None where there are no locks."""
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return None
        raise
    return True


def _forget() -> None:
    """In a forked child: the claims stay with the parent, and must not outlive it in the child."""
    for claims in list(_ALL):
        if claims._handle is not None:
            os.close(claims._handle)
        claims._handle = None
        claims._held.clear()


os.register_at_fork(after_in_child=_forget)
