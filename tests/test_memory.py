"""Memory that may be taken follows control groups, and locking follows the limit of the process."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vidssl import cgroups, memory
from vidssl.memory import available_bytes, host_memory, lock, lock_refusal, resident_bytes

GB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 GB, of which 48 are available; returns where its control groups would be."""
    (tmp_path / "info").write_text(f"MemTotal: {64 * GB // 1024} kB\nMemAvailable: {48 * GB // 1024} kB\n")
    monkeypatch.setattr(memory, "_INFO", tmp_path / "info")
    monkeypatch.setattr(cgroups, "_GROUPS", tmp_path)
    monkeypatch.setattr(cgroups, "_MINE", tmp_path / "mine")
    (tmp_path / "mine").write_text("3:memory:/job\n0::/job/step\n")
    return tmp_path


def mapped(path: Path, size: int) -> npt.NDArray[np.uint8]:
    path.write_bytes(bytes(size))
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


@pytest.mark.parametrize(("limit", "left"), [("max", 48), (str(20 * GB), 11), (str(9 * GB), 0), (str(90 * GB), 48)])
def test_a_group_above_leaves_less(groups: Path, limit: str, left: int) -> None:
    assert available_bytes() == 48 * GB
    (groups / "job/step").mkdir(parents=True)
    (groups / "job/memory.max").write_text(limit)
    (groups / "job/memory.current").write_text(str(12 * GB))
    (groups / "job/memory.stat").write_text(f"anon {9 * GB}\ninactive_file {2 * GB}\nactive_file {GB}\n")
    assert available_bytes() == left * GB


def test_version_one_of_control_groups(groups: Path) -> None:
    (groups / "memory/job").mkdir(parents=True)
    (groups / "memory/job/memory.limit_in_bytes").write_text(str(16 * GB))
    (groups / "memory/job/memory.usage_in_bytes").write_text(str(12 * GB))
    (groups / "memory/job/memory.stat").write_text(f"total_inactive_file {GB}\ntotal_active_file 0\n")
    assert available_bytes() == 5 * GB


def test_this_machine_has_memory() -> None:
    assert 0 < available_bytes() < 2**50


def test_locked_pages_are_resident(tmp_path: Path) -> None:
    data = mapped(tmp_path / "file", 5 * mmap.PAGESIZE + 1)
    if refusal := lock_refusal(len(data)):
        pytest.skip(refusal)
    assert lock(data) == ""
    assert resident_bytes(data) == 6 * mmap.PAGESIZE


CHILD = """
import os, resource
from vidssl.memory import lock_refusal
resource.setrlimit(resource.RLIMIT_MEMLOCK, (2**20, 2**20))
try:
    os.geteuid() or os.seteuid(65534)  # root may lock more than its limit
except OSError:
    raise SystemExit("no other user")
for count in (2**19, 2**22, 0):
    print(lock_refusal(count))
"""


def test_more_than_the_limit_is_refused() -> None:
    ran = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
    if "no other user" in ran.stderr:
        pytest.skip(ran.stderr)
    assert ran.stdout == "\nthis process may lock 1.0 MB (ulimit -l): Cannot allocate memory\n\n"


def test_a_system_without_the_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert "the C library has no mlock2" in lock_refusal(1)


def test_host_memory_grows_with_what_is_held() -> None:
    before = host_memory()
    with mmap.mmap(-1, 2**28) as held:  # not of the heap, where there may be room that was once used
        for at in range(0, len(held), mmap.PAGESIZE):
            held[at] = 1
        assert 0.2 < host_memory() - before < 0.6
