"""The backend "memory" locks the shards, also those that come later, and says why if it cannot."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.memory import lock_refusal
from vidssl.store import memory

SIZE = (24, 31)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    make_clip(root / "a.mp4", frames=37, gop=12)
    make_clip(root / "b.avi", "mpeg4", frames=16, size=(33, 47))
    return VideoIndex.build(root, progress=False)


@pytest.fixture(autouse=True)
def may_lock() -> None:
    if refusal := lock_refusal(2**22):
        pytest.skip(refusal)


def kept(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def wait_until_locked(store: FrameStore, count: int) -> None:
    until = time.monotonic() + 30
    assert store._held is not None
    while store._held.locked < count and time.monotonic() < until:
        time.sleep(0.01)
    assert store._held.locked == count


def mlocked() -> int:
    """Bytes that this process has locked."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmLck"].split()[0]) * 1024


def test_shards_are_locked_now_and_later(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, SIZE).fill(index.select([0]), progress=False)
    before = mlocked()
    store = FrameStore(tmp_path, SIZE, backend="memory")
    wait_until_locked(store, kept(tmp_path))
    assert mlocked() - before >= kept(tmp_path)
    first = store.read(index.video(0), 0, 37)
    store.fill(index, progress=False)
    wait_until_locked(store, kept(tmp_path))
    file = FrameStore(tmp_path, SIZE, backend="file")
    for row, count in ((0, 37), (1, 16)):
        found, wanted = store.read(index.video(row), 0, count), file.read(index.video(row), 0, count)
        assert found is not None
        assert wanted is not None
        assert np.array_equal(found.data, wanted.data)
    assert first is not None
    assert not first.data.flags.writeable


def test_frames_of_another_size_are_not_locked(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, (40, 50)).fill(index, workers=1, progress=False)
    other = kept(tmp_path)
    FrameStore(tmp_path, SIZE).fill(index, workers=1, progress=False)
    store = FrameStore(tmp_path, SIZE, backend="memory")
    wait_until_locked(store, kept(tmp_path) - other)


def test_too_much_is_refused_with_numbers(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    monkeypatch.setattr(memory, "lock_refusal", lambda need: f"this process may lock 1 byte of {need} (ulimit -l)")
    with pytest.raises(VidsslError, match=r'backend="memory": .* KB of frames cannot be .* \(ulimit -l\).*"file"'):
        FrameStore(tmp_path, SIZE, backend="memory")
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    monkeypatch.setattr(memory, "locked_bytes", lambda: 0)
    with pytest.raises(VidsslError, match=r"KB of frames are more than the 1\.0 KB of memory"):
        FrameStore(tmp_path, SIZE, backend="memory")
    monkeypatch.undo()
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)  # all of it is locked already, by another process
    monkeypatch.setattr(memory, "locked_bytes", lambda: 2**40)
    FrameStore(tmp_path, SIZE, backend="memory")


def test_a_later_refusal_ends_only_the_locking(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "lock", lambda pages: "Cannot allocate memory")
    store = FrameStore(tmp_path, SIZE, backend="memory")
    with caplog.at_level(logging.WARNING):
        store.fill(index.select([0]), progress=False)
        store.fill(index, progress=False)
        until = time.monotonic() + 30
        while "is not locked in memory" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
    assert caplog.text.count("is not locked in memory (Cannot allocate memory)") == 1
    assert store.read(index.video(1), 0, 16) is not None


def test_nothing_is_left_after_a_kill(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    code = (
        "import sys, time; from vidssl import FrameStore;"
        "store = FrameStore(sys.argv[1], (24, 31), backend='memory');"
        "sum(time.sleep(0.01) or 0 for _ in iter(lambda: store._held.locked, int(sys.argv[2])));"
        "print('locked', flush=True); time.sleep(60)"
    )
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(kept(tmp_path))], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        child.send_signal(signal.SIGKILL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert FrameStore(tmp_path, SIZE).read(index.video(0), 0, 37) is not None
