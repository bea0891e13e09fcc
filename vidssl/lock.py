"""Lets only one process at a time write to a folder.

The lock is a file that names its holder, and that the holder has locked with flock. The system frees it when the holder
ends in any way, also by `kill -9`. Some network file systems do not pass flock on to other machines. There, a lock that
a process on another machine has left behind is watched for a while: a living holder touches its file regularly.

Where a file system has no flock at all, the file's content alone decides. Two processes that begin within the same
instant may then both get the lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vidssl.files import parse_json
from vidssl.paths import unmade_if_failed
from vidssl.types import VidsslError

LOCK = ".lock"  # name of the file in a folder that is locked
_BEAT = 5.0  # seconds between two touches by the holder
_WATCHED = 30.0  # seconds without a touch after which the holder on another machine has ended

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        host: Name of its machine.
        pid: Its number on that machine.
        since: When it took the lock.
        boot: Identifies the running system of the machine. Containers on one system share it.
        began: When the process began, in clock ticks after the system; a number may be used again by another process.
    """

    host: str
    pid: int
    since: str
    boot: str
    began: str

    @classmethod
    def me(cls) -> Holder:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(host=socket.gethostname(), pid=os.getpid(), since=since, boot=_boot(), began=_began(os.getpid()))

    def is_here(self) -> bool:
        """Return True if it ran on this system, whose flock is certain."""
        return self.boot == _boot()

    def is_alive(self) -> bool:
        """Return True if it still runs; only for a holder on this system."""
        return _began(self.pid) == self.began

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"


class Lock:
    """A lock that this process holds.

    Attributes:
        path: Its file.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle, self._ended = path, handle, threading.Event()
        self._owner, self._depth = threading.get_ident(), 0
        threading.Thread(target=self._touch, name="vidssl-lock", daemon=True).start()

    def is_intact(self) -> bool:
        """Return False if the file was deleted or replaced, such as with its folder."""
        return is_at(self._handle, self.path)

    def _touch(self) -> None:
        while not self._ended.wait(_BEAT):
            with suppress(OSError):  # the folder may be gone; `is_intact` tells
                os.utime(self._handle)

    def _release(self) -> None:
        self._ended.set()
        if self.is_intact():
            self.path.unlink(missing_ok=True)
        os.close(self._handle)


_HELD: dict[str, Lock] = {}  # by path


@contextmanager
def hold(path: Path, where: str) -> Iterator[Lock]:
    """Hold the lock at `path` during the block. Its folder is made if it does not exist.

    If the block fails, a folder that was made and is empty is deleted again.

    A thread that holds the lock may hold it again.

    Args:
        path: The file.
        where: How errors begin, such as "train: out='runs/first'".

    Raises:
        VidsslError: Another process or thread holds the lock, or the file cannot be written.
    """
    with unmade_if_failed(path.parent):
        key = os.path.realpath(path)
        lock = _HELD.get(key)
        if lock is None or lock._owner != threading.get_ident():
            try:
                lock = _HELD[key] = Lock(path, _acquire(path, where))
            except OSError as error:
                raise VidsslError(f"{where}: {error.strerror or error}; name a folder that can be written") from error
        lock._depth += 1
        try:
            yield lock
        finally:
            lock._depth -= 1
            if not lock._depth and _HELD.pop(key, None) is lock:  # a forked child has forgotten it
                lock._release()


def _acquire(path: Path, where: str) -> int:
    """Return the open file of the lock, which is now held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            locked = _flock(handle)
            if not is_at(handle, path):  # its holder has just removed it
                os.close(handle)
                continue
            holder = _read(handle)
            if locked is False or (holder is not None and _still_runs(path, holder, certain=locked is True)):
                raise VidsslError(
                    f"{where}: {holder or 'another process'} writes to it; wait until it ends, or name another folder"
                    + (f" (if it does not run any more, delete {path})" if holder and not holder.is_here() else "")
                )
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(Holder.me())).encode(), 0)
        except BaseException:
            os.close(handle)
            raise
        return handle


def _flock(handle: int) -> bool | None:
    """Lock an open file. Returns False if another process has locked it, and None where the file system cannot."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return None
        raise
    return True


def _still_runs(path: Path, holder: Holder, *, certain: bool) -> bool:
    """Return True if the holder that a file names may still run. certain: flock was free, so no holder here runs."""
    if holder.is_here():
        return not certain and holder.is_alive()
    log.warning("%s: %s has left its lock; watching for %.0f s whether it still runs", path, holder, _WATCHED)
    first, until = _touched(path), time.monotonic() + _WATCHED
    while time.monotonic() < until:
        time.sleep(min(1.0, _WATCHED / 4))
        if _touched(path) != first:
            return True
    return False


def _touched(path: Path) -> tuple[int, int]:
    """(inode, time of the last touch). The file is opened for that: a network file system then asks its server."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
    finally:
        os.close(handle)
    return found.st_ino, found.st_mtime_ns


def _read(handle: int) -> Holder | None:
    """The holder that a file names; None if it names none."""
    try:
        content = parse_json(os.pread(handle, 4096, 0))
        return Holder(**{name: kind(content[name]) for name, kind in _FIELDS.items()})
    except (ValueError, KeyError, TypeError, OverflowError):  # the last one: a number without end as "pid"
        return None


_FIELDS = {"host": str, "pid": int, "since": str, "boot": str, "began": str}


def is_at(handle: int, path: Path) -> bool:
    """Return True if an open file is the one at `path`."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    mine = os.fstat(handle)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _boot() -> str:
    """Identifies the running system. Source: random(4), /proc/sys/kernel/random/boot_id."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


def _began(pid: int) -> str:
    """When a process began, in clock ticks after the system; "" if it does not run. Source: proc(5), stat, field 22."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _forget() -> None:
    """In a forked child: the lock stays with the parent, and must not outlive it in the child."""
    for lock in _HELD.values():
        os.close(lock._handle)
    _HELD.clear()


os.register_at_fork(after_in_child=_forget)
