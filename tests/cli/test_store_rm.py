"""`vidssl store rm`: what it deletes, and what it leaves."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_store import contents
from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex
from vidssl.cli import main
from vidssl.cli.data import indexes_in
from vidssl.store.shard import ENDING


def test_only_what_data_sets_use_is_kept(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    other.mkdir()
    make_clip(other / "c.mp4", frames=17)
    for data in (videos, other):
        for size in ("24x32", "native"):
            main(["store", "fill", str(data), str(store), "--store-size", size])
    both = [VideoIndex.build(data, progress=False) for data in (videos, other)]
    moving = FrameStore(store, (24, 32))
    for row in range(2):
        moving.keep_motion(both[0].video(row))
    moving.flush()
    assert main(["store", "rm", str(store), "--keep", str(videos), str(other)]) == 0
    assert "deleted 0 bytes that" in capsys.readouterr().out
    os.utime(videos / "a.mp4", ns=(1, 1))  # its frames are outdated; those of b lie in the same shards
    (other / "c.mp4").unlink()
    make_clip(other / "d.mp4", frames=18)
    right = FrameStore(store, (24, 32)).read(both[0].video(1), 0, 20)
    assert right is not None
    assert main(["store", "rm", str(store), "--keep", str(videos), str(other)]) == 0
    frames = {size: FrameStore(store, size).missing_of(both[0]).tolist() for size in ((24, 32), "native")}
    assert frames == {(24, 32): [20, 0], "native": [20, 0]}
    rest = FrameStore(store, (24, 32))
    assert [rest.motion(both[0].video(row), 0, 20) is None for row in range(2)] == [True, False]
    assert rest.missing_of(both[1]).tolist() == [17]
    after = rest.read(both[0].video(1), 0, 20)
    assert after is not None
    assert (after.data == right.data).all()
    assert main(["store", "verify", str(store)]) == 0
    out = capsys.readouterr().out
    assert "1 shard of 24x32: 1 video, 20 frames" in out
    assert "1 shard of native: 1 video, 20 frames" in out
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    assert "20 frames now" in capsys.readouterr().out
    assert main(["store", "rm", str(store), "--keep", str(videos), "--damaged"]) == 2


def test_frames_that_are_kept_twice_go(videos: Path, tmp_path: Path) -> None:
    index = VideoIndex.build(videos, progress=False)
    for part in ("store", "more"):
        FrameStore(tmp_path / part, (24, 32)).fill(index, progress=False)
    for path in (tmp_path / "more").iterdir():
        path.rename(tmp_path / "store" / path.name)
    assert main(["store", "rm", str(tmp_path / "store"), "--keep", str(videos)]) == 0
    assert len(list((tmp_path / "store").iterdir())) == 1
    assert FrameStore(tmp_path / "store", (24, 32)).missing_of(index).sum() == 0


def test_what_is_not_ours_stays(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    (tmp_path / "precious").write_text("mine")
    others = [
        store / f"mine{ENDING}",
        store / f"{'0' * 16}{ENDING}",
        store / f"{'1' * 16}{ENDING}",
        store / "notes.txt",
    ]
    others[0].write_text("mine")
    others[1].symlink_to(tmp_path / "precious")
    others[2].mkdir()
    others[3].write_text("mine")
    for options in ([], ["--damaged"], ["--keep", str(videos)]):
        capsys.readouterr()
        assert main(["store", "rm", str(store), *options]) == 0
        assert sorted(path for path in store.iterdir() if path in others) == sorted(others)
        if "--keep" not in options:
            assert f"not deleted: mine{ENDING}" in capsys.readouterr().out
    assert sorted(store.iterdir()) == sorted(others)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("others", [False, True])
def test_data_that_cannot_be_used_deletes_nothing(
    others: bool, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, foreign = tmp_path / "store", tmp_path / "foreign"
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    foreign.mkdir()
    (foreign / "broken.mp4").write_bytes(b"no video")
    before = contents(store)
    capsys.readouterr()
    assert main(["store", "rm", str(store), "--keep", *([str(videos)] if others else []), str(foreign)]) == 2
    error = capsys.readouterr().err
    assert f"keep={str(foreign)!r}: no video can be used" in error
    assert "broken.mp4: " in error
    assert contents(store) == before


def test_data_that_cannot_be_read_now_deletes_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without permission, or a folder that does not answer, is used all the same."""
    store, inner = tmp_path / "store", videos / "inner"
    inner.mkdir()
    make_clip(inner / "c.mp4", frames=15)
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    for path in indexes_in(store):
        path.unlink()
    before, opened, scandir = contents(store), Path.open, os.scandir
    remove = ["store", "rm", str(store), "--keep", str(videos)]

    def refuse_file(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "a.mp4":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    def refuse_folder(path: str) -> object:
        if str(path).endswith("inner"):
            raise OSError(errno.EIO, "Input/output error", path)
        return scandir(path)

    for changed, name, refuse, named in (
        (Path, "open", refuse_file, "a.mp4 (permission denied)"),
        (os, "scandir", refuse_folder, "a folder that cannot be read: Input/output error): inner"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(changed, name, refuse)
            capsys.readouterr()
            assert main(remove) == 2
            error = capsys.readouterr().err
        assert f"keep={str(videos)!r}: some of it cannot be read now, so nothing is deleted" in error
        assert named in error
        assert contents(store) == before
    assert main(remove) == 0
    assert contents(store) == before


def test_indexes_go_with_what_they_describe(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    other.mkdir()
    make_clip(other / "c.mp4", frames=17)
    main(["store", "fill", str(other), str(store), "--store-size", "24x32"])
    [dropped] = indexes_in(store)
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    (store / "index_mine.arrow").write_text("mine")
    assert main(["store", "rm", str(store), "--keep", str(videos)]) == 0
    [kept] = indexes_in(store)
    assert kept != dropped
    assert len(VideoIndex.load(kept)) == 2
    for path in FrameStore.paths(store):
        path.unlink()
    capsys.readouterr()
    assert main(["store", "ls", str(store)]) == 2
    assert main(["store", "rm", str(store)]) == 0
    assert [path.name for path in store.iterdir()] == ["index_mine.arrow"]
    assert main(["store", "rm", str(store)]) == 2


def test_motion_is_listed_and_deleted(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index, folder = VideoIndex.build(videos, progress=False), tmp_path / "store"
    store = FrameStore(folder, (24, 32))
    store.fill(index, progress=False)
    for row in range(2):
        store.keep_motion(index.video(row))
    store.flush()
    assert main(["store", "ls", str(folder)]) == 0
    out = capsys.readouterr().out
    assert ": 2 videos, " in out
    assert "\n1 shard of motion, " in out
    assert main(["store", "verify", str(folder)]) == 0
    assert main(["store", "rm", str(folder)]) == 0
    assert list(folder.iterdir()) == []
