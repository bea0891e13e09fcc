"""How many processors this process may use."""

from __future__ import annotations

import os
from math import ceil, inf
from pathlib import Path

from vidssl.cgroups import groups


def cpus() -> int:
    """Return the number of processors that this process may use, at least 1.

    That is the smaller of two numbers: those of its affinity (taskset, Slurm; PYTHON_CPU_COUNT in Python 3.13), and the
    quota of its control groups (containers), rounded up.
    """
    count = getattr(os, "process_cpu_count", None)
    allowed = count() if count is not None else len(os.sched_getaffinity(0))
    quota = min(map(_quota_of, groups("cpu")), default=inf)
    return max(1, allowed if quota == inf else min(allowed, ceil(quota)))


def _quota_of(group: Path) -> float:
    """The processors that one group may use; infinity without a limit.

    Source: cgroups(7); cpu.max in version 2, cpu.cfs_* in version 1.
    """
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else inf
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return inf
