"""The number of processors follows affinity and the quotas of control groups, old and new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidssl import cgroups
from vidssl.cpus import cpus
from vidssl.index import build, table
from vidssl.index.table import VideoIndex
from vidssl.pools.local import LocalPool


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 processors without control groups; returns where they would be."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(cgroups, "_GROUPS", tmp_path)
    monkeypatch.setattr(cgroups, "_MINE", tmp_path / "mine")
    return tmp_path


def test_without_groups_it_is_the_affinity(groups: Path) -> None:
    assert cpus() == 8
    (groups / "mine").write_text("0::/a\n12:cpu,cpuacct:/b\n")
    assert cpus() == 8


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("max 100000", 8),
        ("300000 100000", 3),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("x", 8),
    ],
)
def test_the_quota_of_a_group_counts_and_that_of_the_groups_above(groups: Path, limit: str, found: int) -> None:
    (groups / "mine").write_text("0::/job/step\n")
    (groups / "job/step").mkdir(parents=True)
    (groups / "job/step/cpu.max").write_text("max 100000\n")
    (groups / "job/cpu.max").write_text(f"{limit}\n")
    assert cpus() == found


def test_version_one_of_control_groups(groups: Path) -> None:
    (groups / "mine").write_text("3:cpuset:/\n2:cpu,cpuacct:/job\n0::/\n")
    (groups / "cpu,cpuacct/job").mkdir(parents=True)
    for name, value in (("quota", 200000), ("period", 100000)):
        (groups / f"cpu,cpuacct/job/cpu.cfs_{name}_us").write_text(f"{value}\n")
    assert cpus() == 2
    (groups / "cpu,cpuacct/job/cpu.cfs_quota_us").write_text("-1\n")
    assert cpus() == 8


def test_an_index_is_built_by_as_many_threads(
    index: VideoIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []
    real = build.read_videos

    def spy(*arguments: object, **named: object) -> object:
        pool = named["pool"]
        assert isinstance(pool, LocalPool)
        seen.append(pool.workers)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "read_videos", spy)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    VideoIndex.build(index.root, progress=False)
    assert seen == [1]
