"""The memory benchmark sees memory that is held."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from benchmarks import bench_memory
from benchmarks.bench_memory import measure, resident
from tests.clips import make_clip
from vidssl import VideoIndex
from vidssl.types import VidsslError


def test_resident_grows_with_what_is_held() -> None:
    before = resident()
    held = mmap.mmap(-1, 64 * 2**20)  # new pages: an allocator may take those that earlier tests gave back to it
    held[:: mmap.PAGESIZE] = bytes(len(held) // mmap.PAGESIZE)
    assert 55 < resident() - before < 90
    held.close()


def test_every_epoch_is_seen(tmp_path: Path) -> None:
    for number in range(2):
        make_clip(tmp_path / f"{number}.mp4", frames=70)
    found = measure(VideoIndex.build(tmp_path, progress=False), "vcop_r3d", epochs=3, workers=1, batch_size=2)
    assert len(found["after"]) == 3
    assert found["windows"] == 6
    assert found["engine"] == "inline"


def test_too_few_epochs_are_an_error() -> None:
    with pytest.raises(VidsslError, match="epochs=2"):
        bench_memory.main(epochs=2)
