"""`vidssl store`: fill, list, verify and delete."""

import errno
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex
from vidssl.cli import main
from vidssl.cli.data import indexes_in
from vidssl.store.shard import ENDING


def exit_code(*arguments: str) -> int:
    """What the shell sees of `vidssl store`."""
    try:
        return main(["store", *arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fill_list_verify_and_delete(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert main(["store", "fill", str(videos), str(store), "--store-size", "24x32"]) == 0
    out = capsys.readouterr().out
    assert "2 videos, 40 frames of 24x32: 46.1 KB" in out
    assert "2 of 2 videos are kept, 40 frames now" in out
    assert main(["store", "fill", str(videos), str(store), "--store-size", "24x32"]) == 0
    assert "2 of 2 videos are kept, 0 frames now" in capsys.readouterr().out
    assert main(["store", "ls", str(store)]) == 0
    assert "1 shard of 24x32: 2 videos, 40 frames" in capsys.readouterr().out
    assert main(["store", "verify", str(store)]) == 0
    assert "every block is as it was written:\n1 shard of 24x32: 2 videos, 40 frames" in capsys.readouterr().out
    (path,) = FrameStore.paths(store)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (store / "notes.txt").write_text("mine")
    assert main(["store", "verify", str(store)]) == 2
    assert "damaged" in capsys.readouterr().out
    assert main(["store", "rm", str(store), "--damaged"]) == 0
    assert FrameStore.paths(store) == []
    main(["store", "fill", str(videos), str(store), "--store-size", "native"])
    assert main(["store", "rm", str(store)]) == 0
    assert [one.name for one in store.iterdir()] == ["notes.txt"]


def test_a_folder_is_decoded_once(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass that indexes it keeps its frames; a later call reads only the index that lies in the store."""
    arguments = ["store", "fill", str(videos), str(tmp_path / "store"), "--store-size", "24x32"]

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("a video is decoded again")

    monkeypatch.setattr("vidssl.store.fill.decode_to", unexpected)
    assert main(arguments) == 0
    monkeypatch.setattr("vidssl.index.build.scan", unexpected)
    assert main(arguments) == 0
    assert main(["store", "rm", str(tmp_path / "store"), "--keep", str(videos)]) == 0
    assert (
        FrameStore(tmp_path / "store", (24, 32)).missing_of(VideoIndex.load(*indexes_in(tmp_path / "store"))).sum() == 0
    )
    assert main(["store", "rm", str(tmp_path / "store")]) == 0
    assert list((tmp_path / "store").iterdir()) == []


def test_new_videos_are_added(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["store", "fill", str(videos), str(tmp_path / "store"), "--store-size", "24x32"]
    main(arguments)
    before = {path: path.read_bytes() for path in FrameStore.paths(tmp_path / "store")}
    make_clip(videos / "c.mp4", frames=23)
    capsys.readouterr()
    assert main(arguments) == 0
    assert "3 of 3 videos are kept, 23 frames now" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def test_unfinished_files_are_listed(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    writer = FrameStore(store, (24, 32))
    writer.add(bytes(16), 0, np.zeros((16, 36, 32), np.uint8))
    left = store / f".{'0' * 16}{ENDING}.1.partial"
    left.write_bytes(bytes(1000))
    assert main(["store", "ls", str(store)]) == 0
    out = capsys.readouterr().out
    assert f"{left.name}: 1.0 KB, left by a process that ended early" in out
    assert out.count("being written") == 1
    assert main(["store", "rm", str(store)]) == 0
    assert not left.exists()
    writer.flush()
    assert len(list(store.iterdir())) == 1


def test_what_is_missing_of_an_index(videos: Path, tmp_path: Path) -> None:
    """The same for all rows at once as for each row."""
    with tarfile.open(videos / "shard.tar", "w") as tar:
        tar.add(videos / "a.mp4", "x/in_tar.mp4")
    make_clip(videos / "late.avi", "mpeg4", frames=21, size=(33, 47), bframes=2)
    (videos / "broken.mp4").write_bytes(b"no video")
    index = VideoIndex.build(videos, progress=False)
    for size in ((24, 32), "native"):
        store = FrameStore(tmp_path / "store", size)
        store.fill(index.select([0, 3]), progress=False)
        found = [sum(map(len, store.missing(index.video(row)))) for row in index.usable().tolist()]
        assert store.missing_of(index).tolist() == found
        assert list(store.keys(index.select(index.usable()))) == [
            store.key(index.video(row)) for row in index.usable().tolist()
        ]
        assert 0 < sum(found) < index.column("frames").to_numpy().sum()
        each = [np.prod(store.decode(index.video(row), np.arange(1)).data.shape) for row in index.usable().tolist()]
        assert store.frame_bytes(index).tolist() == each


def test_the_second_run_decodes_nothing(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run decodes each video once, for its index and the store; another run takes both from the store."""
    store = tmp_path / "store"
    make_clip(videos / "a.mp4", frames=40)
    make_clip(videos / "b.mp4", frames=40)
    run = ["train", "vcop_r3d_tiny", "--data", str(videos), "--steps", "1", "--batch-size", "2", "--holdout", "0"]
    run += ["--interval", "4"]
    kept = ["--store", str(store), "--store-size", "64x86"]

    def forbidden(*_: object) -> None:
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr(FrameStore, "decode", forbidden)  # the index pass has kept all frames
        assert main([*run, "--out", str(tmp_path / "one"), *kept]) == 0
    out = capsys.readouterr().out
    assert "frames of 64x86 (8.3 KB each)" in out
    assert "80 frames of 64x86: 660.5 KB, of which 660.5 KB are kept" in out
    assert ", 0 were decoded" in out
    monkeypatch.setattr(FrameStore, "decode", forbidden)
    monkeypatch.setattr("vidssl.index.build.scan", forbidden)
    assert main([*run, "--out", str(tmp_path / "two"), *kept]) == 0
    assert main(["store", "fill", str(videos), str(store), "--store-size", "64x86"]) == 0
    assert "2 of 2 videos are kept, 0 frames now" in capsys.readouterr().out


def test_a_limit(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(videos), str(tmp_path / "store"), "--store-size", "24x32", "--workers", "1"]
    assert main(["store", "fill", *arguments, "--store-limit", "30KB"]) == 0
    assert "1 of 2 videos are kept" in capsys.readouterr().out


def test_a_file_of_others_is_not_damage(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    (store / f"my{ENDING}").write_text("mine")
    capsys.readouterr()
    for command in ("ls", "verify"):
        assert main(["store", command, str(store)]) == 0
        out = capsys.readouterr().out
        assert f"left alone: my{ENDING}: it is no shard, and vidssl did not give it this name\n" in out
        assert "damaged" not in out
    [shard] = [path for path in FrameStore.paths(store) if not path.name.startswith("my")]
    data = bytearray(shard.read_bytes())
    data[len(data) // 4] ^= 1
    (store / f"copy{ENDING}").write_bytes(data)  # its frames may be read, so its damage counts
    assert main(["store", "verify", str(store)]) == 2
    error = capsys.readouterr().err
    assert f"1 damaged shard; delete copy{ENDING} yourself" in error
    assert "--damaged" not in error
    shard.write_bytes(data)
    assert main(["store", "verify", str(store)]) == 2
    assert "2 damaged shards; `vidssl store rm" in capsys.readouterr().err


def test_a_folder_that_may_only_be_read(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    main(["store", "fill", str(videos), str(store), "--store-size", "24x32"])
    before, access, opened = contents(store), os.access, os.open
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == store and mode & os.W_OK) and access(path, mode))

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT and Path(os.fsdecode(path)).parent == store:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    capsys.readouterr()
    for options in ([], ["--damaged"], ["--keep", str(videos)]):
        assert main(["store", "rm", str(store), *options]) == 2
        error = capsys.readouterr().err
        assert f"store={str(store)!r}: you may not delete files in this folder; change its permissions" in error
        assert "space" not in error
    fill = ["fill", str(videos), str(store), "--store-size"]
    assert exit_code(*fill, "24x32") == 0  # all is kept already
    capsys.readouterr()
    assert exit_code(*fill, "48x64") == 1
    error = capsys.readouterr().err
    assert (
        "2 videos of 2 are not kept, or only in part: it can be read but not written (Read-only file system)" in error
    )
    assert exit_code(*fill, "48x64", "--store-limit", "0") == 0  # asked for
    assert contents(store) == before


def test_a_full_disk_is_a_failure(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert exit_code("fill", str(videos), str(tmp_path / "store"), "--store-size", "24x32", "--store-limit", "1GB") == 1
    assert "2 videos of 2 are not kept, or only in part: its disk is full" in capsys.readouterr().err
    index = ["index", str(videos), "--out", str(tmp_path / "index.arrow"), "--store", str(tmp_path / "other")]
    with pytest.raises(SystemExit) as stopped:
        main([*index, "--store-size", "24x32", "--store-limit", "1GB"])
    assert stopped.value.code == 1
    assert "2 videos of 2 are not kept, or only in part: its disk is full" in capsys.readouterr().err
    assert len(VideoIndex.load(tmp_path / "index.arrow").usable()) == 2


def test_files_that_cannot_be_used_are_named(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill = ["fill", str(videos), str(tmp_path / "store"), "--store-size", "24x32"]
    (videos / "broken.mp4").write_bytes(b"no video")
    assert exit_code(*fill) == 0
    out = capsys.readouterr().out
    assert "2 videos can be used, 1 skipped\n  skipped: broken.mp4: " in out
    assert "2 of 2 videos are kept" in out
    for name in ("a", "b"):
        (videos / f"{name}.mp4").unlink()
    assert exit_code(*fill) == 2
    error = capsys.readouterr().err
    assert f"data={str(videos)!r}: no video can be used" in error
    assert "broken.mp4: " in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["fill", "VIDEOS", "STORE", "--store-size", "24"],
        ["fill", "VIDEOS", "STORE", "--store-size", "0x24"],
        ["fill", "VIDEOS", "STORE", "--store-size", "99999x99999"],
        ["fill", "VIDEOS", "STORE", "--store-size", "24x32", "--store-limit", "much"],
        ["ls", "STORE"],
        ["verify", "STORE"],
        ["rm", "STORE"],
        ["verify", "VIDEOS"],
    ],
)
def test_wrong_arguments(
    arguments: list[str], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"VIDEOS": str(videos), "STORE": str(tmp_path / "store")}
    assert main(["store", *(named.get(one, one) for one in arguments)]) == 2
    assert "store" in capsys.readouterr().err.lower()
