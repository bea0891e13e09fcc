"""files: what is no regular file is refused before it is opened, wherever a file can be named."""

from __future__ import annotations

import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.files import TEXT_BYTES, byte_lines, parse_json, read_bytes, read_text, stat_regular
from vidssl.index.lists import read_lines
from vidssl.index.sources import find_videos
from vidssl.prepare import Encoding
from vidssl.prepare.journal import Journal
from vidssl.prepare.splits import copy_lists
from vidssl.report.read import read_results
from vidssl.report.table import find_runs
from vidssl.train.checkpoint import load_meta
from vidssl.video.decode import decode
from vidssl.video.packets import DecodeError


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def door(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's name is short
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


KINDS = pytest.mark.parametrize(("make", "said"), [(pipe, "a named pipe"), (device, "a device"), (door, "a socket")])
Make = Callable[[Path], None]


@KINDS
def test_only_regular_files_are_read(make: Make, said: str, tmp_path: Path) -> None:
    make(tmp_path / "x")
    for read in (stat_regular, read_bytes, read_text, lambda path: list(byte_lines(path))):
        with pytest.raises(OSError, match=f"{said}, not a regular file"):
            read(tmp_path / "x")


@KINDS
def test_videos_and_shards_that_are_no_files_are_named(make: Make, said: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "good.mp4", frames=10)
    for name in ("a.mp4", "b.tar", "c.mkv"):
        make(tmp_path / name)
    index = VideoIndex.build(tmp_path, progress=False)
    assert dict(index.skipped()) == dict.fromkeys(
        ("a.mp4", "b.tar", "c.mkv"), f"cannot be read: {said}, not a regular file"
    )
    assert len(index.usable()) == 1


@KINDS
@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_lists_that_are_no_files_are_named(make: Make, said: str, name: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    with pytest.raises(VidsslError, match=f"{said}, not a regular file"):
        find_videos(tmp_path / name)
    with pytest.raises(VidsslError, match=f"{said}, not a regular file"):
        read_lines(tmp_path / name)
    (tmp_path / "out").mkdir()
    with Journal(tmp_path / "out", Encoding()) as journal:
        lists = copy_lists(tmp_path, tmp_path, tmp_path / "out", {"a.mp4": "b.mp4"}, journal)
    assert (lists.copied, lists.places, [path for path, _ in lists.failed]) == ({}, [name], [name])
    assert f"{said}, not a regular file" in lists.failed[0][1]


@KINDS
def test_a_video_that_is_no_file_any_more_is_named(make: Make, said: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=10)
    video = VideoIndex.build(tmp_path, progress=False).video(0)
    path.unlink()
    make(path)
    with pytest.raises(DecodeError, match=said):
        decode(video, video.packet[:2].astype("int64"))


def test_a_runs_own_files_that_are_no_files_are_named(tmp_path: Path) -> None:
    pipe(tmp_path / "meta.json")
    pipe(tmp_path / "retrieval.json")
    with pytest.raises(VidsslError, match=r"meta.json cannot be read .*a named pipe"):
        load_meta(tmp_path)
    assert read_results(tmp_path) == {}


def test_what_is_nested_without_end_is_no_json(tmp_path: Path) -> None:
    deep = "[" * 200_000
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(deep)
    (tmp_path / "retrieval.json").write_text(deep)
    assert read_results(tmp_path) == {}
    (tmp_path / "meta.json").write_text(deep)
    with pytest.raises(VidsslError, match="nested too deeply"):
        load_meta(tmp_path)
    (tmp_path / "run.json").write_text(deep)
    (tmp_path / "metrics.jsonl").write_text(deep)
    with pytest.raises(VidsslError, match=r"run\.json cannot be read"):
        find_runs(tmp_path)


def test_a_text_is_read_up_to_a_size(tmp_path: Path) -> None:
    with (tmp_path / "list.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(VidsslError, match=f"{2**40} bytes, but the limit is {TEXT_BYTES}"):
        find_videos(tmp_path / "list.txt")


def test_lines_have_a_limit_but_not_their_number(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"12345678\n" * 1000 + b"1")
    assert list(byte_lines(path, limit=9)) == [b"12345678\n"] * 1000 + [b"1"]
    path.write_bytes(b"1\n123456789\n2\n")
    with pytest.raises(OSError, match="line 2 is longer than 9 bytes"):
        list(byte_lines(path, limit=9))


def test_text_is_read_as_pythons_own(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("\ufeffa\r\nb\rc\n\u00e4".encode())
    assert read_text(tmp_path / "x", "utf-8-sig") == (tmp_path / "x").read_text(encoding="utf-8-sig")


def test_a_tar_in_a_pipe_does_not_stand_in_for_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "real", "w") as tar:
        tar.add(make_clip(tmp_path / "a.mp4", frames=10), "a.mp4")
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "link.tar").symlink_to("real")  # a link to a file is one
    assert [one.path for one in find_videos(tmp_path)[1]] == ["link.tar/a.mp4"]
