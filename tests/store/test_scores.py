"""Motion that is kept is that of the kept frames: of any window, or of none."""

import time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex, ops
from vidssl.kernels.motion import Motion
from vidssl.store import scores
from vidssl.store.fill import Filler, Lacking
from vidssl.store.shard import SCORES

SIZE = (40, 51)  # 3 x 4 cells


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    make_clip(root / "a.mp4", frames=37, gop=12)
    make_clip(root / "b.avi", "mpeg4", frames=16, size=(33, 47))
    make_clip(root / "c.webm", "libvpx-vp9", frames=21, size=(49, 67))
    return VideoIndex.build(root, progress=False)


def filled(index: VideoIndex, folder: Path, size: tuple[int, int] | str = SIZE) -> FrameStore:
    """A store with all frames, and with motion."""
    store = FrameStore(folder, size)
    store.fill(index, progress=False)
    for row in range(len(index)):
        store.keep_motion(index.video(row))
    store.flush()
    return store


def same(found: Motion | None, index: VideoIndex, row: int, first: int, count: int, store: FrameStore) -> bool:
    wanted = ops.motion(store.decode(index.video(row), np.arange(first, first + count)))
    return (
        found is not None
        and found.sad.dtype == np.uint32
        and np.array_equal(found.sad, wanted.sad)
        and np.array_equal(found.thumb, wanted.thumb)
    )


@pytest.mark.parametrize("size", [SIZE, "native"])
@pytest.mark.parametrize("piece", [16, 256])
def test_kept_motion_is_that_of_the_frames(
    index: VideoIndex,
    tmp_path: Path,
    size: tuple[int, int] | str,
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """piece: 16 splits a video of 37 frames into three."""
    monkeypatch.setattr(scores, "_PIECE", piece)
    store = filled(index, tmp_path, size)
    for one in (store, FrameStore(tmp_path, size)):  # this process, and a later one
        for row in range(3):
            video = index.video(row)
            for first, count in ((0, 1), (0, video.frames), (3, 13), (15, 1), (10, 6), (video.frames - 2, 2)):
                assert same(one.motion(video, first, count), index, row, first, count, store)
    assert store.stats == Counter(kept=37 + 16 + 21)
    again = FrameStore(tmp_path, size)
    before = sorted(tmp_path.iterdir())
    again.keep_motion(index.video(0))
    again.flush()
    assert sorted(tmp_path.iterdir()) == before  # what is there is not measured again


def test_motion_is_kept_only_of_kept_frames(index: VideoIndex, tmp_path: Path) -> None:
    store, video = FrameStore(tmp_path, SIZE), index.video(0)
    store.keep_motion(video)
    store.flush()
    assert list(tmp_path.iterdir()) == []
    store.fill(index.select([0]), progress=False)
    store.keep_motion(video, stopped=lambda: True)
    store.flush()
    assert store.motion(video, 0, 2) is None
    FrameStore(None, SIZE).keep_motion(video)


def test_an_interrupted_video_is_completed(
    index: VideoIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scores, "_PIECE", 16)
    store, video = FrameStore(tmp_path, SIZE), index.video(0)
    store.fill(index.select([0]), progress=False)
    calls = iter([False, True])
    store.keep_motion(video, stopped=lambda: next(calls))
    store.flush()
    assert same(store.motion(video, 2, 14), index, 0, 2, 14, store)
    assert store.motion(video, 10, 14) is None
    store.keep_motion(video)
    store.flush()
    assert same(store.motion(video, 0, 37), index, 0, 0, 37, store)


def test_motion_of_a_changed_kernel_is_not_found(
    index: VideoIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = filled(index, tmp_path)
    monkeypatch.setattr(scores, "_VERSION", 2)
    assert store.motion(index.video(0), 0, 4) is None


def test_every_wrong_byte_is_noticed(index: VideoIndex, tmp_path: Path) -> None:
    filled(index, tmp_path)
    (path,) = tmp_path.glob(f"*{SCORES}")
    whole, rng, dropped = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(30):
        at = int(rng.integers(len(whole)))
        path.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(rng.integers(8))]) + whole[at + 1 :])
        store = FrameStore(tmp_path, SIZE)
        for row in range(3):
            found = store.motion(index.video(row), 0, index.frames(row))
            assert found is None or same(found, index, row, 0, index.frames(row), store)
            dropped += found is None
    assert dropped >= 10
    path.unlink()
    path.write_bytes(whole[:-9])
    store = FrameStore(tmp_path, SIZE)
    assert (store.stats["damaged"], [name for name, _ in store.verify()]) == (1, [path])
    assert store.read(index.video(0), 0, 37) is not None


def test_the_limit_counts_motion_too(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, SIZE).fill(index, progress=False)
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    each = 3 * 4 * 4 + 256  # bytes of a frame
    store = FrameStore(tmp_path, SIZE, limit=used + 37 * each + 4096)
    for row in range(3):
        store.keep_motion(index.video(row))
        store.flush()
    assert [store.motion(index.video(row), 0, 2) is None for row in range(3)] == [False, True, True]


def test_a_full_disk_ends_only_the_keeping(
    index: VideoIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FrameStore(tmp_path, SIZE)
    store.fill(index, progress=False)
    kept = sorted(tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidssl.store.shard.ShardWriter.add", full)
    for row in range(3):
        store.keep_motion(index.video(row))
    store.flush()
    assert caplog.text.count("No space left on device") == caplog.text.count("motion is measured each time") == 1
    assert sorted(tmp_path.iterdir()) == kept
    assert store.motion(index.video(0), 0, 2) is None


def test_motion_of_a_video_is_asked_for_once(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it cannot be kept, no window asks again, until the frames are kept anew."""
    done: SimpleQueue[str] = SimpleQueue()
    monkeypatch.setattr(FrameStore, "keep_motion", lambda *_: done.put("motion"))
    monkeypatch.setattr("vidssl.store.fill.keep", lambda *_: done.put("frames"))
    filler, found = Filler(FrameStore(tmp_path, SIZE), index), []
    asked: list[tuple[Lacking, int]] = [("motion", 1), ("motion", 0), ("frames", 1), ("frames", 1), ("motion", 1)]
    for what, times in asked:
        filler.ask(0, what)
        found += [done.get(timeout=60) for _ in range(times)]
        time.sleep(0.05)  # until it is no longer on the list of what was asked for
    filler.close()
    assert found == ["motion", "frames", "frames", "motion"]
    assert done.empty()
