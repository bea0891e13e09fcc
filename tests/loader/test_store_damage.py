"""Shards that are damaged before or while a loader reads them: the batches are the same, and it says so once."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.loader.test_loader import PLAIN, same
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.store.shard import ENDING, Shard
from vidssl.types import Batch

SIZE = (44, 53)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make_clip(root / f"{number}.mp4", frames=40 + number, gop=12)
    return VideoIndex.build(root, progress=False)


@pytest.fixture(scope="module")
def wanted(index: VideoIndex) -> list[Batch]:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, store=FrameStore(None, SIZE)) as loader:
        return [Batch(*(part.clone() for part in batch)) for _ in range(4) for batch in loader]


@pytest.fixture
def folder(index: VideoIndex, tmp_path: Path) -> Path:
    """A store with two shards."""
    for rows in ([0, 1, 2], [3, 4, 5]):
        FrameStore(tmp_path, SIZE).fill(index.select(rows), progress=False, workers=1)
    return tmp_path


def shard(folder: Path) -> Path:
    return sorted(folder.glob(f"*{ENDING}"))[0]


def rewritten(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def flip_frames(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(2**13, len(data) - 2**13, 2**10):
        data[at] ^= 255
    rewritten(path, bytes(data))


def flip_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    schema = 8 + int.from_bytes(data[12:16], "little")  # length of the first message, which nothing reads
    data[8 + schema + 20] ^= 255
    rewritten(path, bytes(data))


def cut(path: Path) -> None:
    rewritten(path, path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    rewritten(path, b"")


def foreign(path: Path) -> None:
    rewritten(path, b"something else\n" * 10_000)


@pytest.mark.parametrize("damage", [flip_frames, flip_head, cut, empty, foreign])
def test_damage_before_the_start(
    damage: Callable[[Path], None],
    index: VideoIndex,
    wanted: list[Batch],
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = shard(folder)
    damage(path)
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, store=FrameStore(folder, SIZE)) as loader:
        assert same(wanted, [Batch(*(part.clone() for part in batch)) for _ in range(4) for batch in loader])
        assert loader.stats["damaged"] >= 1
        assert 0 < loader.stats["stored"] < loader.stats["windows"]
    assert caplog.text.count(path.name) == 1
    later = FrameStore(folder, SIZE)  # the filling went on
    assert later.fill(index, progress=False) == []
    assert later.stats["kept"] < 123 + 128


def other_store(path: Path, index: VideoIndex) -> None:
    aside = path.parent.parent / f"{path.parent.name}_other"
    FrameStore(aside, (60, 70)).fill(index, progress=False)
    shard(aside).rename(path)


def test_a_shard_of_another_store(index: VideoIndex, wanted: list[Batch], folder: Path) -> None:
    other_store(shard(folder), index)
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, store=FrameStore(folder, SIZE)) as loader:
        assert same(wanted, [Batch(*(part.clone() for part in batch)) for _ in range(4) for batch in loader])
        assert (loader.stats["damaged"], loader.stats["stored"] > 0) == (0, True)


def truncate(path: Path) -> None:
    os.truncate(path, 2**12)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2**13)
        file.write(bytes(2**16))


@pytest.mark.parametrize("change", [truncate, overwrite, empty, cut, foreign, Path.unlink, shutil.copy2])
def test_a_mapped_shard_changes(
    change: Callable[[Path], None],
    index: VideoIndex,
    wanted: list[Batch],
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After half of the epochs. Reading pages that were cut off would end the process (SIGBUS)."""
    path, batches = shard(folder), []
    before = path.read_bytes()
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, workers=2, store=FrameStore(folder, SIZE)) as loader:
        for epoch in range(4):
            batches += [Batch(*(part.clone() for part in batch)) for batch in loader]
            if epoch == 1:
                while not all(one.done() for queued in loader._pipeline._queue for one in queued.windows):
                    time.sleep(0.001)  # a page that is read while it is cut off ends the process (docs/faults.md)
                if change is shutil.copy2:  # another whole file takes its place
                    rewritten(path, before)
                else:
                    change(path)
        in_place = change in (truncate, overwrite)
        assert loader.stats["damaged"] == in_place
        assert (loader.stats["stored"] < loader.stats["windows"]) == in_place
    assert same(wanted, batches)
    assert caplog.text.count("changed in place") == in_place


def test_nothing_of_a_truncated_shard_is_touched(index: VideoIndex, folder: Path) -> None:
    """Its keys and offsets are mapped too."""
    store, path = FrameStore(folder, SIZE), shard(folder)
    truncate(path)
    kept = [store.read(index.video(row), 0, 16) is not None for row in range(6)]
    assert sorted(kept) == [False] * 3 + [True] * 3
    assert store.stats["damaged"] == 1
    assert sum(len(store.missing(index.video(row))) for row in range(6)) == 3
    with pytest.raises(Exception, match="not an Arrow file"):
        Shard(path)
