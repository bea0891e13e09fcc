"""Decoding in processes gives the frames and errors of decoding in threads, and nothing outlives whoever asked."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.clips import make_clip, waves
from vidssl import Loader, VideoIndex
from vidssl.deadline import Deadline, FileTimeoutError
from vidssl.loader import processes
from vidssl.loader.processes import Processes
from vidssl.pretext import Vcop
from vidssl.video.decode import Video, decode
from vidssl.video.packets import DecodeError

CLIPS: dict[str, Any] = {
    "a.mp4": ("libx264", {"options": {"x264-params": "keyint=17:min-keyint=17:scenecut=0:bframes=3"}}),
    "b.avi": ("mpeg4", {"bframes": 2}),
    "c.mp4": ("libx264", {"size": (47, 61), "form": "yuv444p"}),
    "d.mkv": ("libx264", {"rotation": 90.0, "times": [i * 40 + (i % 5) * 9 for i in range(50)]}),
}
NUMBERS = np.arange(3, 43, 2)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for name, (codec, options) in CLIPS.items():
        make_clip(root / name, codec, **({"show": waves} | options))
    return VideoIndex.build(root, progress=False)


@pytest.fixture
def video(index: VideoIndex) -> Video:
    return index.video(0)


def children() -> set[int]:
    """Processes of this one that decode."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path("/proc", child, "cmdline")
            if command.exists() and b"vidssl.video.serve" in command.read_bytes():
                found.add(int(child))
    return found


def gone(pids: set[int], seconds: float = 5.0) -> bool:
    """Whether these processes end: those of others leave a zombie for a moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_frames_are_those_of_decode(index: VideoIndex) -> None:
    decoder = Processes()
    for row in (0, 1, 2, 3, 0):
        found, wanted = decoder.decode(index.video(row), NUMBERS), decode(index.video(row), NUMBERS)
        assert (found.data == wanted.data).all()
        assert (found.number == wanted.number).all()
        assert (found.size, found.space) == (wanted.size, wanted.space)


def test_errors_are_those_of_decode(video: Video, index: VideoIndex) -> None:
    decoder = Processes()
    for wrong, numbers in ((video, np.array([5, 4])), (replace(video, bytes=1), NUMBERS), (video, np.array([400]))):
        with pytest.raises(DecodeError) as wanted:
            decode(wrong, numbers)
        with pytest.raises(DecodeError) as found:
            decoder.decode(wrong, numbers)
        assert str(found.value) == str(wanted.value)
    before = children()
    assert (decoder.decode(video, NUMBERS).data == decode(video, NUMBERS).data).all()
    assert children() == before  # an error of the file does not end the process


def test_memory_is_used_again_only_if_nobody_holds_a_view_of_it(video: Video, index: VideoIndex) -> None:
    decoder = Processes()
    first = decoder.decode(video, NUMBERS).data
    place = first.ctypes.data
    part = first[2:4, 1:]
    del first
    other = decoder.decode(index.video(1), NUMBERS).data
    assert other.ctypes.data != place
    assert (part == decode(video, NUMBERS).data[2:4, 1:]).all()
    del part
    gc.collect()
    assert decoder.decode(video, NUMBERS).data.ctypes.data == place


def test_a_process_that_dies_is_replaced(video: Video) -> None:
    decoder = Processes()
    before = children()
    decoder.decode(video, NUMBERS)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    assert (decoder.decode(video, NUMBERS).data == decode(video, NUMBERS).data).all()
    assert len(children() - before) == 1


def test_a_file_that_processes_die_on_cannot_be_decoded(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROGRAM", "import os; os.abort()  # {path} {descriptor}")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DecodeError, match=r"a\.mp4: a process that decodes it ends each time: signal SIGABRT"):
        Processes().decode(video, NUMBERS)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_process_that_hangs_is_ended_at_the_deadline(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROGRAM", "import time; time.sleep(600)  # vidssl.video.serve {path} {descriptor}")
    decoder, before = Processes(), children()
    with pytest.raises(FileTimeoutError, match="took longer than"), Deadline.enter(video.path, 0, 0.2):
        decoder.decode(video, NUMBERS)
    assert children() == before
    monkeypatch.undo()
    assert (decoder.decode(video, NUMBERS).data == decode(video, NUMBERS).data).all()


def test_frames_on_the_way_give_a_job_more_time(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    slow = (
        "import sys; sys.path[:] = {path!r}; import vidssl.video.serve as serve; serve._TICK = 0.0; "
        "serve.serve({descriptor})"
    )
    monkeypatch.setattr(processes, "_PROGRAM", slow)
    monkeypatch.setattr(Deadline, "add_frames", lambda self, frames: told.append(frames))
    Processes().decode(video, NUMBERS)
    assert len(NUMBERS) <= sum(told) <= video.frames


def test_a_process_ends_with_its_thread(video: Video) -> None:
    decoder, before, mine = Processes(), children(), set[int]()

    def work() -> None:
        decoder.decode(video, NUMBERS)
        mine.update(children() - before)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert mine
    assert gone(mine)


@pytest.mark.parametrize("how", ["killed", "exits"])
def test_no_process_outlives_the_one_that_started_it(how: str, index: VideoIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "index.arrow")
    end = "time.sleep(600)" if how == "killed" else "sys.exit()"
    program = f"""
import sys, time
from pathlib import Path
import numpy as np
from vidssl import VideoIndex
from vidssl.loader.processes import Processes
decoder = Processes()
decoder.decode(VideoIndex.load({str(tmp_path / "index.arrow")!r}).video(0), np.arange(8))
print(decoder._own.process._child.pid, flush=True)
{end}
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        if how == "killed":
            assert alive(pid)
            other.kill()
    assert gone({pid})


def test_memory_is_pinned_once_and_unpinned(video: Video) -> None:
    pinned, unpinned = list[int](), list[int]()

    def pin(memory: npt.NDArray[np.uint8]) -> Any:
        place = memory.ctypes.data
        assert memory.nbytes >= decode(video, NUMBERS).data.nbytes
        pinned.append(place)
        return lambda: unpinned.append(place)

    decoder = Processes(pin)
    for _ in range(3):
        data = decoder.decode(video, NUMBERS).data
        assert data.ctypes.data == pinned[0]
        del data
    assert len(pinned) == 1
    kept = decoder.decode(video, NUMBERS).data
    del decoder
    gc.collect()
    assert not unpinned  # frames are still held
    assert (kept == decode(video, NUMBERS).data).all()
    del kept
    gc.collect()
    assert unpinned == pinned


def test_windows_of_many_sizes_take_no_more_blocks_than_those_of_one(
    video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GRAIN", 4096)
    blocks = dict[int, int]()

    def pin(memory: npt.NDArray[np.uint8]) -> Any:
        place = memory.ctypes.data
        blocks[place] = memory.nbytes
        return lambda: blocks.pop(place)

    decoder = Processes(pin)
    for count in (1, 40, 2, 30, 3, 40, 1):
        numbers = np.arange(count)
        kept = [decoder.decode(video, numbers).data for _ in range(2)]
        assert all((data == decode(video, numbers).data).all() for data in kept)
        assert len(blocks) == 2
        assert sum(blocks.values()) <= 2 * max(4 * kept[0].nbytes, 40 * kept[0][0].nbytes + 4096)
        place = kept[0].ctypes.data
        del kept
        again = decoder.decode(video, np.arange(max(1, count - 1)))  # a little smaller: takes what is there
        assert len(blocks) == 2
        assert place in blocks
        del again


def test_a_fork_leaves_the_processes_to_its_parent(video: Video) -> None:
    decoder, before = Processes(), children()
    decoder.decode(video, NUMBERS)
    (pid,) = children() - before
    fork = os.fork()
    if not fork:
        del decoder
        gc.collect()
        os._exit(0)
    os.waitpid(fork, 0)
    assert not gone({pid}, 0.2)
    assert (decoder.decode(video, NUMBERS).data == decode(video, NUMBERS).data).all()
    assert children() - before == {pid}


def test_entries_of_the_path_that_python_ignores_are_left_out(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [Path("/a"), b"/b", None, *sys.path])
    assert (Processes().decode(video, NUMBERS).data == decode(video, NUMBERS).data).all()


def test_a_process_has_one_thread(video: Video) -> None:
    decoder, before = Processes(), children()
    decoder.decode(video, NUMBERS)
    (pid,) = children() - before
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1


@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_on_a_cpu_of_many_cores(channels_last: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The workers then decode in processes, and assemble what these decoded, to the same bits."""
    for number in range(3):
        make_clip(tmp_path / f"{number}.mp4", frames=70, show=waves, size=(128, 176))
    videos, before = VideoIndex.build(tmp_path, progress=False), children()

    def batches(cores: int) -> tuple[list[Any], int]:
        monkeypatch.setattr("vidssl.loader.engines.cpus", lambda: cores)
        with Loader(
            videos, Vcop(), batch_size=1, device="cpu", engine="inline", workers=3, channels_last=channels_last
        ) as loader:
            return [batch for _ in range(2) for batch in loader], len(children() - before)

    (wanted, none), (found, some) = batches(2), batches(3)
    assert none == 0
    assert 1 <= some <= 3
    assert gone(children() - before)
    assert len(found) == len(wanted) == 6
    for one, other in zip(found, wanted, strict=True):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_a_loader_gives_the_same_batches(index: VideoIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a file that is damaged after indexing, which is replaced and written down as in threads."""
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(6):
        make_clip(root / f"{number}.mp4", frames=70, show=waves, size=(128, 176))
    videos = VideoIndex.build(root, progress=False)
    broken = bytearray((root / "3.mp4").read_bytes())
    broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
    stat = (root / "3.mp4").stat()
    (root / "3.mp4").write_bytes(broken)
    os.utime(root / "3.mp4", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def batches(name: str) -> tuple[list[Any], str]:
        with Loader(
            videos,
            Vcop(),
            batch_size=3,
            device="cpu",
            engine="eager",
            workers=3,
            max_corrupt=0.5,
            quarantine=tmp_path / name,
        ) as loader:
            found = [batch for _ in range(2) for batch in loader]
            assert loader.stats["replaced"] > 0
        return found, (tmp_path / name).read_text()

    wanted, told = batches("threads.jsonl")
    monkeypatch.setattr("vidssl.loader.engines.decode", Processes().decode)
    found, written = batches("processes.jsonl")
    assert len(found) == len(wanted) == 4
    for one, other in zip(found, wanted, strict=True):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert sorted(written.splitlines()) == sorted(told.splitlines())
