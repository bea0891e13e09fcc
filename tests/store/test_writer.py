"""Without room, or without permission, a store goes on without keeping, and says what to do."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from tests.loader.test_loader import PLAIN, same
from tests.store.test_fill import wait
from tests.store.test_frames import expected
from tests.store.test_frames import same as same_frames
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.cli import main
from vidssl.store import writer
from vidssl.store.claims import FILE
from vidssl.store.shard import ENDING
from vidssl.store.writer import delete_unfinished, unfinished
from vidssl.types import Batch

SIZE = (96, 128)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        make_clip(root / f"{number}.mp4", frames=40, gop=12)
    return VideoIndex.build(root, progress=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, which holds two of the six videos at SIZE."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def show(index: VideoIndex, store: FrameStore) -> list[Batch]:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, workers=2, store=store) as loader:
        return [Batch(*(part.clone() for part in batch)) for _ in range(2) for batch in loader]


def kept(folder: Path) -> int:
    return sum(run.frames for shard in FrameStore.shards(folder)[0] for run in shard.runs())


def test_a_full_disk_keeps_what_fits(index: VideoIndex, disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FrameStore(disk, SIZE)
    assert store.free_bytes() < 2 * 2**20
    assert store.fill(index, workers=1, progress=False) == []
    assert caplog.text.count("its disk is full") == 1
    assert "free some space, or name a folder on another disk" in caplog.text
    assert kept(disk) == store.stats["kept"] == 96  # two videos and a block of the third, in a complete shard
    assert store.full
    assert same_frames(store.read(index.video(0), 0, 40), expected(index, 0, 0, 40, SIZE))
    assert unfinished(disk) == [] == list(disk.glob(FILE))


@pytest.mark.parametrize("reserve", [True, False], ids=["noticed before", "noticed while writing"])
def test_training_goes_on_with_a_full_disk(
    index: VideoIndex, disk: Path, reserve: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not reserve:  # another process takes the space in this moment
        monkeypatch.setattr(writer.StoreWriter, "free_bytes", lambda _: 2**40)
    wanted, store = show(index, FrameStore(None, SIZE)), FrameStore(disk, SIZE)
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, workers=2, store=store) as loader:
        batches = [Batch(*(part.clone() for part in batch)) for batch in loader]
        wait(lambda: store.full)
        batches += [Batch(*(part.clone() for part in batch)) for batch in loader]
    assert same(wanted, batches)
    assert same(wanted, show(index, FrameStore(disk, SIZE)))
    assert "its disk is full" in caplog.text
    assert "are free" in caplog.text
    assert unfinished(disk) == [] == list(disk.glob(FILE))
    assert store.stats["kept"] == (96 if reserve else 0)


def test_indexing_goes_on_with_a_full_disk(
    index: VideoIndex, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "index.arrow"
    arguments = ["--store", str(disk), "--store-size", "96x128", "--workers", "1"]
    with pytest.raises(SystemExit, match="1"):  # the index is whole, the store is not
        main(["index", str(index.root), "--out", str(out), *arguments])
    assert "its disk is full" in caplog.text
    assert "2 of 6 videos are kept" in capsys.readouterr().out
    assert VideoIndex.load(out).table.equals(index.table)


def test_a_disk_that_is_full_at_the_last_bytes_of_a_shard(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vidssl.index.checksums.ChecksummedWriter.close", full)
    store = FrameStore(tmp_path, SIZE)
    assert VideoIndex.build(index.root, progress=False, store=store).table.equals(index.table)
    assert "No space left" in caplog.text
    assert store.stats["kept"] == 0
    assert list(tmp_path.iterdir()) == []


def test_files_that_may_not_grow(index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        FrameStore(tmp_path, SIZE).fill(index, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "ulimit -f" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_read(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FrameStore(tmp_path, SIZE).fill(index.select([0]), progress=False)
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT and Path(os.fsdecode(path)).parent == tmp_path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    store = FrameStore(tmp_path, SIZE)
    assert store.fill(index, progress=False) == []
    assert caplog.text.count("it can be read but not written (Read-only file system)") == 1
    assert "space" not in caplog.text
    assert same_frames(store.read(index.video(0), 0, 40), expected(index, 0, 0, 40, SIZE))


def test_a_limit_says_so(index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FrameStore(tmp_path, SIZE, limit=10**6).fill(index, workers=1, progress=False)
    assert caplog.text.count("the limit of 1.0 MB is reached; raise it to keep more") == 1
    assert kept(tmp_path) == 40


def test_a_limit_of_zero_is_no_news(index: VideoIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FrameStore(tmp_path, SIZE).fill(index.select([0]), progress=False)
    store = FrameStore(tmp_path, SIZE, limit=0)
    assert (store.fill(index, progress=False), store.full, caplog.text) == ([], True, "")
    assert same_frames(store.read(index.video(0), 0, 40), expected(index, 0, 0, 40, SIZE))


def test_of_a_long_video_is_kept_what_fits(index: VideoIndex, tmp_path: Path) -> None:
    store = FrameStore(tmp_path, SIZE, limit=40 * 96 * 128 * 3 // 2 - 1)
    store.fill(index.select([0]), progress=False)
    assert (kept(tmp_path), store.full) == (32, True)
    assert same_frames(store.read(index.video(0), 0, 32), expected(index, 0, 0, 32, SIZE))


def test_what_a_dead_process_left_is_deleted(index: VideoIndex, tmp_path: Path) -> None:
    left = tmp_path / f".{'0' * 16}{ENDING}.1.partial"
    left.write_bytes(bytes(1000))
    others = [tmp_path / f".{'0' * 15}{ENDING}.1.partial", tmp_path / ".notes.partial"]
    for path in others:
        path.write_bytes(b"mine")
    busy = FrameStore(tmp_path, SIZE)
    busy.add(bytes(16), 0, np.zeros((16, 144, 128), np.uint8))
    [progress] = [path for path in unfinished(tmp_path) if path != left]
    limited = FrameStore(tmp_path, SIZE, limit=10**6)
    assert limited.free_bytes() == 10**6 - left.stat().st_size - progress.stat().st_size
    assert delete_unfinished(tmp_path) == 1000
    assert unfinished(tmp_path) == [progress]  # it is being written
    left.write_bytes(bytes(1000))
    FrameStore(tmp_path, SIZE).fill(index.select([0]), progress=False)
    assert unfinished(tmp_path) == [progress]
    busy.flush()
    assert unfinished(tmp_path) == []
    assert kept(tmp_path) == 56
    assert all(path.read_bytes() == b"mine" for path in others)
