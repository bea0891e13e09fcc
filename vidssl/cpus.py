"""How many processors this process may use."""

from __future__ import annotations

import os
from math import ceil, inf
from pathlib import Path

_GROUPS, _MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cpus() -> int:
    """Return the number of processors that this process may use, at least 1.

    That is the smaller of two numbers: those of its affinity (taskset, Slurm; PYTHON_CPU_COUNT in Python 3.13), and the
    quota of its control groups (containers), rounded up.
    """
    count = getattr(os, "process_cpu_count", None)
    allowed = count() if count is not None else len(os.sched_getaffinity(0))
    quota = _quota()
    return max(1, allowed if quota == inf else min(allowed, ceil(quota)))


def _quota() -> float:
    """The processors that the control groups of this process may use; infinity without a limit.

    A group is limited by those above it as well. Source: cgroups(7); cpu.max in version 2, cpu.cfs_* in version 1.
    """
    found = inf
    try:
        lines = _MINE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return inf
    for line in lines:
        number, names, path = line.split(":", 2)
        if number != "0" and "cpu" not in names.split(","):
            continue
        top = _GROUPS if number == "0" else _GROUPS / names
        group = top / path.strip("/")
        for one in (group, *group.parents):
            if one.is_relative_to(top):
                found = min(found, _quota_of(one))
    return found


def _quota_of(group: Path) -> float:
    """The limit of one group."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else inf
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return inf
