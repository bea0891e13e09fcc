"""deadline, workers: a file that takes too long is a bad file, whether it is slow or never comes back; the others go
on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import Loader, VideoIndex, VidsslError, workers
from vidssl.deadline import Deadline, FileTimeoutError, JobAbandoned
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.video.decode import decode
from vidssl.video.packets import PacketReader
from vidssl.workers import Workers

SPEC = PlanSpec(
    arrangements=orders(3, 4),
    labels=np.arange(6),
    bases=3,
    length=4,
    gap=(2, 2),
    augment=Augment(resize=(40, 50), crop=(32, 32)),
)
SAID = "it took longer than the .* seconds that a file of its size may take"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in ("a.mp4", "b.mp4", "c.avi"):
        make_clip(root / name, "mpeg4" if name.endswith("avi") else "libx264", frames=30)
    return root


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decoding of b.mp4 waits for an event, as a call into a library that does not come back."""
    end, plain = threading.Event(), PacketReader.frames

    def frames(self: PacketReader, packet: Any, **how: Any) -> Any:
        if self.container.name.endswith("b.mp4"):
            end.wait(60)
        return plain(self, packet, **how)

    monkeypatch.setattr(PacketReader, "frames", frames)
    monkeypatch.setattr(workers, "_TICK", 0.05)
    monkeypatch.setattr(workers, "_GRACE", 0.1)
    monkeypatch.setattr(workers, "_JOINED", 0.2)
    yield end
    end.set()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame of b.mp4 takes a second longer than its share."""
    plain = PacketReader._decoded

    def decoded(self: PacketReader, packet: Any) -> Any:
        if self.container.name.endswith("b.mp4"):
            self._deadline._end -= 2
        return plain(self, packet)

    monkeypatch.setattr(PacketReader, "_decoded", decoded)


def test_a_slow_file_is_a_bad_file(folder: Path, slow: None) -> None:
    index = VideoIndex.build(folder, workers=1, file_timeout=5, progress=False)
    assert [path for path, _ in index.skipped()] == ["b.mp4"]
    assert "raise file_timeout=5" in index.skipped()[0][1]
    assert len(VideoIndex.build(folder, file_timeout=100, progress=False).usable()) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_that_never_comes_back_is_a_bad_file(folder: Path, hanging: threading.Event, count: int) -> None:
    began = time.monotonic()
    index = VideoIndex.build(folder, workers=count, file_timeout=0.5, progress=False)
    assert [path for path, _ in index.skipped()] == ["b.mp4"]
    assert index.column("frames").to_pylist() == [30, 0, 30]
    assert "may take" in index.skipped()[0][1]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("engine", ["inline", "eager"])
def test_a_window_that_never_comes_back_is_replaced(folder: Path, engine: Any, request: pytest.FixtureRequest) -> None:
    index = VideoIndex.build(folder, progress=False)
    with Loader(
        index, SPEC, batch_size=3, device="cpu", workers=2, engine=engine, max_corrupt=1, file_timeout=0.5
    ) as loader:
        request.getfixturevalue("hanging")
        batch = next(iter(loader))
        assert set(batch.video.tolist()) == {0, 2}
        assert loader.stats["corrupt_videos"] == 1
        assert loader.stats["replaced"] == 1


def test_a_slow_window_is_replaced(folder: Path, request: pytest.FixtureRequest) -> None:
    index = VideoIndex.build(folder, progress=False)
    request.getfixturevalue("slow")
    with Loader(
        index, SPEC, batch_size=3, device="cpu", workers=2, engine="inline", max_corrupt=1, file_timeout=5
    ) as loader:
        assert set(next(iter(loader)).video.tolist()) == {0, 2}


def test_ffmpeg_itself_is_interrupted(folder: Path) -> None:
    with Deadline.enter("x", 0, 1e-9), pytest.raises(FileTimeoutError, match=SAID):
        PacketReader(folder / "a.mp4")


def test_decoding_has_a_limit_too(folder: Path, slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.deadline.FILE_SECONDS", 5.0)
    video = VideoIndex.build(folder, file_timeout=1000, progress=False).video(1)
    with pytest.raises(FileTimeoutError, match=SAID):
        decode(video, np.arange(30))
    assert Deadline.of(threading.get_ident()) is None


def test_a_deadline_grows_with_the_file_and_its_frames() -> None:
    small, large = Deadline("x", 0, 10), Deadline("x", 2**30, 10)
    assert 9 < small.left < 10
    assert 1033 < large.left < 1034
    small.add_frames(7)
    assert 16 < small.left < 17
    with Deadline.enter("x", 0, 5) as outer, Deadline.enter("x", 0, 1000) as inner:
        assert inner is outer
    assert Deadline.of(threading.get_ident()) is None
    small.abandon()
    with pytest.raises(JobAbandoned):
        small.check()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_wrong_timeouts_are_named(folder: Path, seconds: float) -> None:
    index = VideoIndex.build(folder, progress=False, file_timeout=float("inf"))
    with pytest.raises(VidsslError, match="file_timeout"):
        VideoIndex.build(folder, file_timeout=seconds)
    with pytest.raises(VidsslError, match="file_timeout"):
        Loader(index, SPEC, batch_size=1, device="cpu", file_timeout=seconds)


def test_workers_do_what_they_are_given() -> None:
    with Workers(2, "test") as pool:
        jobs = [pool.submit(divmod, 7, at) for at in range(3)]
        assert [job.result(5) for job in jobs[1:]] == [(7, 0), (3, 1)]
        with pytest.raises(ZeroDivisionError):
            jobs[0].result(5)


def test_workers_that_nobody_holds_end() -> None:
    before = threading.active_count()
    pool = Workers(3, "test")
    assert pool.submit(abs, -1).result(5) == 1
    del pool
    until = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


HANGS = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
from vidssl import VideoIndex
from vidssl import workers
from vidssl.video.packets import PacketReader
workers._JOINED = 0.5
def frames(self, packet, **how):
    print("in", flush=True)
    threading.Event().wait(300)
PacketReader.frames = frames
VideoIndex.build(sys.argv[1], progress=False)
"""


def test_ctrl_c_ends_a_process_whose_workers_hang(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGS, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().startswith("in")
            for _ in range(6):  # as a person does: Python drops a Ctrl-C that comes in a callback of an import
                os.kill(child.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=10)
                    break
            _, said = child.communicate(timeout=10)
        finally:
            child.kill()
    assert "KeyboardInterrupt" in said
    assert child.returncode in (1, -signal.SIGINT)


def test_no_thread_is_left_after_closing() -> None:
    """A thread that still ends while the interpreter shuts down may abort the process."""
    for _ in range(50):
        with Workers(2, "gone") as pool:
            pool.submit(int, 3).result()
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("gone")] == []
