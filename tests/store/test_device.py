"""Frames that lie on a device are those of the store, whole videos until the memory is full."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex
from vidssl.store import device
from vidssl.store.device import Arenas, Place, free_bytes

CPU = torch.device("cpu")
SIZE = (24, 31)
EACH = 24 // 2 * 3 * 32  # bytes of a frame of SIZE


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    make_clip(root / "a.mp4", frames=37, gop=12)
    make_clip(root / "b.avi", "mpeg4", frames=16, size=(33, 47))
    make_clip(root / "c.webm", "libvpx-vp9", frames=21, size=(34, 48), tags={"colorspace": 1})
    make_clip(root / "d.webm", "libvpx-vp9", frames=18, size=(34, 48))
    return VideoIndex.build(root, progress=False)


@pytest.fixture(params=[SIZE, "native"], ids=str)
def store(request: pytest.FixtureRequest, index: VideoIndex, tmp_path: Path) -> FrameStore:
    store = FrameStore(tmp_path, request.param)
    store.fill(index, progress=False)
    return store


def shown(place: Place | None, frames: int) -> np.ndarray:
    assert place is not None
    data: np.ndarray = place.frames.data[place.first : place.first + frames].numpy()
    return data


def test_frames_are_those_of_the_store(store: FrameStore, index: VideoIndex) -> None:
    arenas = Arenas(store, index, CPU, store.bytes_of(index))
    assert [arenas.find(row) for row in range(4)] == [None] * 4
    for row in (2, 0, 3, 1):
        video = index.video(row)
        assert arenas.admit(row, video) is arenas.find(row)
    for row in range(4):
        video, place = index.video(row), arenas.find(row)
        wanted = store.read(video, 0, video.frames)
        assert wanted is not None
        assert place is not None
        assert np.array_equal(shown(place, video.frames), wanted.data)
        assert place.frames.size == wanted.size
        assert place.frames.space.chroma == wanted.space.chroma
        assert np.array_equal(place.frames.space.to_rgb, wanted.space.to_rgb)
        assert place.video.path == video.path
    groups = [id(place.frames) for row in range(4) if (place := arenas.find(row)) is not None]
    assert len(set(groups)) == (2 if store.size == SIZE else 4)  # c has another colour space
    arenas.close()
    assert arenas.find(0) is None


def test_a_large_video_is_copied_in_parts(
    store: FrameStore, index: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_COPIED", 5 * EACH)
    arenas, video = Arenas(store, index, CPU, store.bytes_of(index)), index.video(0)
    wanted = store.read(video, 0, 37)
    assert wanted is not None
    assert np.array_equal(shown(arenas.admit(0, video), 37), wanted.data)


def test_what_does_not_fit_stays_out(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE)
    store.fill(index, progress=False)
    arenas = Arenas(store, index, CPU, 60 * EACH)
    found = [arenas.admit(row, index.video(row)) is not None for row in range(4)]
    assert found == [True, True, False, False]  # 37 + 16 frames
    assert [arenas.find(row) is not None for row in range(4)] == found
    none = Arenas(store, index, CPU, 0)
    assert none.admit(1, index.video(1)) is None


def test_each_size_gets_the_same_fraction(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, "native")
    store.fill(index, progress=False)
    arenas = Arenas(store, index, CPU, store.bytes_of(index) // 2)
    assert {size: len(arena.data) for size, arena in arenas._arenas.items()} == {
        size: frames // 2 - (not frames % 2 and store.bytes_of(index) % 2)
        for size, frames in store.sizes_of(index).items()
    }


def test_only_whole_videos_are_copied(index: VideoIndex, tmp_path: Path) -> None:
    store, video = FrameStore(tmp_path, SIZE), index.video(0)
    arenas = Arenas(store, index, CPU, store.bytes_of(index))
    store.add(store.key(video), 0, store.decode(video, np.arange(16)).data)
    store.flush()
    assert arenas.admit(0, video) is None
    store.fill(index, progress=False)
    assert arenas.admit(0, video) is not None


def test_a_damaged_video_is_copied_after_it_is_kept_again(index: VideoIndex, tmp_path: Path) -> None:
    FrameStore(tmp_path, SIZE).fill(index.select([0]), progress=False)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.unlink()
    path.write_bytes(data)
    store, video = FrameStore(tmp_path, SIZE), index.video(0)
    arenas = Arenas(store, index, CPU, store.bytes_of(index))
    assert arenas.admit(0, video) is None
    assert store.stats["damaged"] == 1
    store.fill(index, progress=False)
    wanted = store.read(video, 0, 37)
    assert wanted is not None
    assert np.array_equal(shown(arenas.admit(0, video), 37), wanted.data)
    assert all(arenas.admit(row, index.video(row)) is not None for row in index.usable().tolist())  # room is not lost


def test_a_video_whose_copy_raised_is_copied_later(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bool:
        raise MemoryError

    store = FrameStore(tmp_path, SIZE)
    store.fill(index, progress=False)
    arenas = Arenas(store, index, CPU, store.bytes_of(index))
    with monkeypatch.context() as patch:
        patch.setattr(store, "copy_to", full)
        with pytest.raises(MemoryError):
            arenas.admit(0, index.video(0))
    assert all(arenas.admit(row, index.video(row)) is not None for row in index.usable().tolist())


def test_threads_copy_a_video_once(index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread copies a video, others do not wait for it."""
    store, video, inside, go = FrameStore(tmp_path, SIZE), index.video(0), threading.Event(), threading.Event()
    store.fill(index, progress=False)
    arenas, real, calls = Arenas(store, index, CPU, store.bytes_of(index)), store.copy_to, []

    def slow(*arguments: object) -> bool:
        calls.append(arguments)
        inside.set()
        assert go.wait(30)
        return real(*arguments)

    monkeypatch.setattr(store, "copy_to", slow)
    first = threading.Thread(target=arenas.admit, args=(0, video))
    first.start()
    assert inside.wait(30)
    assert arenas.admit(0, video) is None
    assert arenas.find(0) is None
    go.set()
    first.join()
    assert arenas.find(0) is not None
    assert len(calls) == 1


def test_memory_of_the_cpu_is_available() -> None:
    assert free_bytes(CPU) > 0
