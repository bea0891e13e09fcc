"""Filling by several processes at once, and of long videos."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame

from tests.clips import make_clip
from tests.loader.test_loader import PLAIN
from tests.store.test_frames import expected, same
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.deadline import Deadline
from vidssl.store.fill import Filler, Keeper
from vidssl.store.writer import unfinished
from vidssl.video.decode import Video, decode_to

SIZE = (32, 41)
FILL = (
    "import sys, time; from vidssl import FrameStore, VideoIndex; index = VideoIndex.load(sys.argv[1]);"
    "store = FrameStore(sys.argv[2], (32, 41)); print('ready', flush=True); sys.stdin.readline();"
    "store.fill(index, workers=1, progress=False)"
)
LOAD = (
    "import sys, time; from vidssl import FrameStore, Loader, VideoIndex; from tests.loader.test_loader import PLAIN;"
    "index = VideoIndex.load(sys.argv[1]); store = FrameStore(sys.argv[2], (32, 41));"
    "print('ready', flush=True); sys.stdin.readline();"
    "loader = Loader(index, PLAIN, batch_size=4, device='cpu', seed=int(sys.argv[3]), store=store);\n"
    "for _ in range(3):\n"
    "    list(loader); time.sleep(0.5)\n"
    "loader.close()"
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(24):
        make_clip(root / f"{number:02}.mp4", frames=40 + number, size=(96, 128), gop=12)
    built = VideoIndex.build(root, progress=False)
    built.save(root.parent / "index.arrow")
    return built


def start(code: str, index: VideoIndex, store: Path, seed: int = 0) -> subprocess.Popen[str]:
    """A process that waits for a line before it begins."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(index.root.parent / "index.arrow"), str(store), str(seed)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def begin(*children: subprocess.Popen[str]) -> None:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()


def kept(folder: Path) -> int:
    """Number of frames in all shards; a frame that is kept twice counts twice."""
    return sum(run.frames for shard in FrameStore.shards(folder)[0] for run in shard.runs())


@pytest.mark.parametrize("others", [(FILL, FILL), (FILL, LOAD), (LOAD, LOAD)], ids=["fills", "fill and load", "loads"])
def test_no_video_is_kept_twice(others: tuple[str, str], index: VideoIndex, tmp_path: Path) -> None:
    children = [start(code, index, tmp_path, seed) for seed, code in enumerate(others)]
    begin(*children)
    for child in children:
        child.communicate(timeout=120)
        assert child.returncode == 0
    total = int(index.column("frames").to_numpy().sum())
    store = FrameStore(tmp_path, SIZE)
    missing = int(store.missing_of(index).sum())
    assert kept(tmp_path) == total - missing
    assert missing == 0 or FILL not in others
    assert all(path.name.endswith(".frames.arrow") for path in tmp_path.iterdir())


@pytest.mark.parametrize("dies", [0, 1])
def test_one_of_two_dies(dies: int, index: VideoIndex, tmp_path: Path) -> None:
    children = [start(FILL, index, tmp_path) for _ in range(2)]
    begin(*children)
    until = time.monotonic() + 60
    while not unfinished(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)
    children[dies].send_signal(signal.SIGKILL)
    children[dies].communicate()
    children[1 - dies].communicate(timeout=120)
    assert children[1 - dies].returncode == 0
    store = FrameStore(tmp_path, SIZE)
    assert store.missing_of(index).sum() == 0  # what the dead one had begun is done by the other
    assert kept(tmp_path) == index.column("frames").to_numpy().sum()
    for row in (0, 11, 23):
        count = index.frames(row)
        assert same(store.read(index.video(row), 0, count), expected(index, row, 0, count, SIZE))
    store.fill(index, progress=False)
    assert unfinished(tmp_path) == []


def test_a_claimed_video_is_asked_for_again(index: VideoIndex, tmp_path: Path) -> None:
    """Another process keeps it, and dies."""
    store, other = FrameStore(tmp_path, SIZE), FrameStore(tmp_path, SIZE)
    claim = other.claim(other.key(index.video(3)))
    assert claim is not None
    filler = Filler(store, index)
    for row in (3, 4):
        filler.ask(row, "frames")
    wait(lambda: store.stats["kept"] == index.frames(4))
    claim.end()
    filler.ask(3, "frames")
    filler.close()
    assert kept(tmp_path) in (index.frames(4), index.frames(3) + index.frames(4))
    filler = Filler(store, index)
    filler.ask(3, "frames")
    wait(lambda: store.stats["kept"] == index.frames(3) + index.frames(4))
    filler.close()


def test_indexing_twice_keeps_once(index: VideoIndex, tmp_path: Path) -> None:
    for _ in range(2):
        VideoIndex.build(index.root, progress=False, store=FrameStore(tmp_path, SIZE))
    total = int(index.column("frames").to_numpy().sum())
    assert kept(tmp_path) == total
    half, video = FrameStore(tmp_path / "half", SIZE), index.video(9)
    half.add(half.key(video), 0, expected(index, 9, 0, 32, SIZE).data)
    half.flush()
    VideoIndex.build(index.root, progress=False, store=half)
    assert kept(tmp_path / "half") == total
    assert same(half.read(video, 0, video.frames), expected(index, 9, 0, video.frames, SIZE))


def test_a_damaged_video_is_kept_while_it_is_indexed(tmp_path: Path) -> None:
    """It is decoded twice: the decoder hides damage unless it is strict, and ends at it if it is."""
    root = tmp_path / "videos"
    root.mkdir()
    path = make_clip(root / "a.avi", "mpeg4", frames=100, gop=10)
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    for _ in range(3):
        data[int(rng.integers(len(data) // 2, len(data) - 3000))] ^= 255
    path.write_bytes(data)
    store = FrameStore(tmp_path / "store", SIZE)
    index = VideoIndex.build(root, progress=False, store=store)
    assert 0 < index.frames(0) < 100
    assert store.missing(index.video(0)) == []


def test_a_loader_that_is_left_open_keeps_what_it_has_and_ends_well(index: VideoIndex, tmp_path: Path) -> None:
    """A thread that is still at work when the interpreter is gone would end the process by SIGABRT."""
    code = LOAD.replace("loader.close()", "pass")
    child = start(code, index, tmp_path / "store")
    begin(child)
    assert child.wait(60) == 0
    assert kept(tmp_path / "store") > 0
    assert not unfinished(tmp_path / "store")


def wait(until: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    """One video of 6,000 frames, which can be sought to each second."""
    root = tmp_path_factory.mktemp("long")
    make_clip(root / "a.avi", "mpeg4", frames=6_000, size=(32, 48), gop=25, show=ramp)
    return VideoIndex.build(root, progress=False)


def ramp(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return (np.arange(size[0] * size[1] * 3, dtype=np.int64) // 3 + number).astype(np.uint8).reshape(*size, 3)


def test_a_long_video_delays_nobody(long: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, video, take, taken = FrameStore(tmp_path, SIZE), long.video(0), Keeper.take, threading.Semaphore(0)
    paused = threading.Event()

    def slow_take(keeper: Keeper, frame: VideoFrame) -> None:
        take(keeper, frame)
        taken.release()
        paused.wait()

    monkeypatch.setattr(Keeper, "take", slow_take)
    with Loader(long, PLAIN, batch_size=1, device="cpu", store=store, workers=1) as loader:
        next(iter(loader))  # although the filling has stopped at its first frame
        paused.set()
        for _ in range(100):
            taken.acquire()
    [part] = store.missing(video)  # closing stopped the filling, and kept what there was
    assert 96 <= part.start < 6_000
    assert part.start % 16 == 0
    later = FrameStore(tmp_path, SIZE)
    assert later.missing(video) == [part]
    later.fill(long, workers=1, progress=False)
    assert later.stats["kept"] == 6_000 - part.start
    for at in (0, part.start - 5, 5_980):
        assert same(later.read(video, at, 20), expected(long, 0, at, 20, SIZE))


def test_closing_while_frames_are_skipped(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video with one keyframe is decoded from its beginning, whichever frame comes first."""
    root, decoded = tmp_path_factory.mktemp("one_keyframe"), threading.Semaphore(0)
    make_clip(root / "a.mp4", frames=3000, gop=4000, options={"preset": "ultrafast"})
    index = VideoIndex.build(root, progress=False)
    store, video, count = FrameStore(tmp_path, SIZE), index.video(0), 0
    store.add(store.key(video), 0, np.zeros((2992, 48, 42), np.uint8))
    store.flush()
    check = Deadline.add_frames

    def add_frames(deadline: Deadline, frames: int) -> None:
        nonlocal count
        count += frames
        decoded.release()
        check(deadline, frames)

    monkeypatch.setattr(Deadline, "add_frames", add_frames)
    filler = Filler(store, index)
    filler.ask(0, "frames")
    decoded.acquire()
    filler.close()
    assert 0 < count < 2992
    assert store.missing(video) == [range(2992, 3000)]
    store.fill(index, progress=False)
    assert store.missing(video) == []


MANY = (
    "import resource, sys; import numpy as np; from vidssl import FrameStore; import vidssl.store.shard as s;"
    "s._FILES = 64; resource.setrlimit(resource.RLIMIT_NOFILE, (80, int(sys.argv[2])));"
    "store = FrameStore(sys.argv[1], (32, 41)); frames = np.zeros((16, 48, 42), np.uint8);"
    "print(sum(not store._backend.missing(bytes([row] * 16), 16) for row in range(60)), store.stats['damaged']);"
    "print(store.add(bytes(16), 16, frames)); store.flush()"
)


@pytest.mark.parametrize(("allowed", "served"), [(4096, 60), (124, 30)])
def test_more_shards_than_files_may_be_open(allowed: int, served: int, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE)
    for row in range(60):
        store.add(bytes([row] * 16), 0, np.zeros((16, 48, 42), np.uint8))
        store.flush()
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path), str(allowed)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(served), "0", str(served == 60)]  # nothing is kept that could not be read
    assert done.stderr.count("raise `ulimit -Hn`") == (0 if served == 60 else 2)


@pytest.mark.parametrize("size", [SIZE, "native"])
def test_keepers_at_the_same_time_have_memory_of_their_own(
    index: VideoIndex, tmp_path: Path, size: tuple[int, int] | Literal["native"]
) -> None:
    """And a later one, which uses memory of an earlier one again, keeps only its own frames."""
    store = FrameStore(tmp_path, size)

    def keepers(*rows: int) -> list[tuple[Video, Keeper]]:
        return [(index.video(row), Keeper(store, index.video(row), store.key(index.video(row)))) for row in rows]

    for made in (keepers(0, 1), keepers(2), keepers(3)):
        for video, keeper in made:
            decode_to(_Taking(keeper), video, np.arange(video.frames))
        for _, keeper in made:
            keeper.finish()
            keeper.drop()  # does nothing
    store.flush()
    store.refresh()
    for row in range(4):
        video = index.video(row)
        assert same(store.read(video, 0, video.frames), expected(index, row, 0, video.frames, size))


class _Taking:
    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def store(self, slot: int, frame: VideoFrame) -> None:
        self._keeper.take(frame)
