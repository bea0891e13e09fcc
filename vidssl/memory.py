"""The memory that this process may still take, and pages that are locked in memory. For Linux."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidssl.cgroups import groups
from vidssl.paths import readable

_INFO = Path("/proc/meminfo")
_ON_FAULT = 1  # MLOCK_ONFAULT: pages are locked as they are read, so that locking itself reads none


def available_bytes() -> int:
    """Bytes that this process may still take: what the machine has, or less if its control groups allow less.

    Memory that holds files that were read, and that no process locks, counts as available.
    """
    return min([_info("MemAvailable"), *map(_left, groups("memory"))])


def host_memory() -> float:
    """GiB of memory that this process takes: what of it is resident. Source: proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / 2**30


def locked_bytes() -> int:
    """Bytes that all processes of the machine have locked."""
    return _info("Mlocked")


def resident_bytes(data: npt.NDArray[np.uint8]) -> int:
    """Bytes of the pages of a mapped file, uint8 [N] from its first byte on, that are in memory."""
    pages = np.zeros(-(-len(data) // mmap.PAGESIZE), np.uint8)
    if _call("mincore", data, ctypes.c_void_p(pages.ctypes.data)):
        return 0
    return int((pages & 1).sum()) * mmap.PAGESIZE


def lock(data: npt.NDArray[np.uint8]) -> str:
    """Reads a mapped file, uint8 [N], into memory, where its pages stay until the process ends or unmaps it.

    Processes that map the same file share the pages.

    Returns:
        Why this is not possible; "" if it was done.
    """
    return _call("mlock", data)


def lock_refusal(count: int) -> str:
    """Returns why this process may not lock `count` more bytes, whatever is in them; "" if it may."""
    if not count:
        return ""
    pages = mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    reason = _call("mlock2", np.frombuffer(pages, np.uint8), ctypes.c_int(_ON_FAULT))
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    most = "no limit" if limit == resource.RLIM_INFINITY else readable(limit)
    return f"this process may lock {most} (ulimit -l): {reason}" if reason else ""


def _call(name: str, data: npt.NDArray[np.uint8], *others: Any) -> str:
    """Calls a function of the C library on an array. Returns the error, or ""."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, name):
        return f"the C library has no {name}"
    failed = getattr(library, name)(ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(data.nbytes), *others)
    return os.strerror(ctypes.get_errno()) if failed else ""


def _info(name: str) -> int:
    """A line of /proc/meminfo, in bytes."""
    lines = dict(line.split(":", 1) for line in _INFO.read_text(encoding="ascii").splitlines())
    return int(lines[name].split()[0]) * 1024


def _left(group: Path) -> int:
    """Bytes that a control group may still take. Source: cgroups(7), versions 2 and 1."""
    most = _info("MemTotal")
    for limit, used, kinds in (
        ("memory.max", "memory.current", ("inactive_file", "active_file")),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    ):
        with suppress(OSError, ValueError, KeyError):  # no such file, or "max"
            counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            files = sum(int(counts[kind]) for kind in kinds)
            most = min(most, max(0, int((group / limit).read_text()) - int((group / used).read_text()) + files))
    return most
