"""What earlier calls left in OUT: what they did not finish is deleted, and nothing that a user put there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.clips import make_clip
from tests.prepare.making import made
from vidssl import VidsslError
from vidssl.cli import main
from vidssl.prepare import make
from vidssl.prepare.encode import encode
from vidssl.prepare.journal import JOURNAL
from vidssl.prepare.stale import delete_unfinished

_LONG = "y" * 230


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    (root / "a").mkdir(parents=True)
    for name in ("a/x.avi", f"a/{_LONG}.avi"):
        make_clip(tmp_path / "clip.avi", "mpeg4", frames=8).rename(root / name)
    (root / "train.txt").write_text("a/x.avi 1\n")
    return root


def test_only_what_prepare_did_not_finish_is_deleted(videos: Path, out: Path) -> None:
    made(videos, out)
    with (out / JOURNAL).open("a") as file:
        file.write(json.dumps({"path": "gone.avi", "target": "b/gone.mp4", "size": 1, "reason": ""}) + "\n")
    (videos / "new.txt").write_text("a/x.avi 1\n")  # no call has finished its copy yet
    digest = hashlib.sha256(f"{_LONG}.mp4".encode()).hexdigest()
    ours = ["a/.x.mp4.7.partial", f"a/.{digest}.31.partial", "b/.gone.mp4.9.partial", ".index.arrow.1.partial"]
    ours += [".train.txt.12.partial", ".new.txt.12.partial"]
    mine = [
        ".notes.partial",
        ".mine.arrow.partial",
        ".index.arrow.partial",
        ".notes.txt.12.partial",
        "c/.x.mp4.7.partial",
    ]
    mine += [
        ".x.mp4.7.partial",
        "a/.x.mp4.07.partial",
        "a/.x.mp4.7b.partial",
        "a/x.mp4.7.partial",
        "a/.x.avi.7.partial",
    ]
    for name in (*ours, *mine):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"half")
    (out / "a" / ".x.mp4.8.partial").symlink_to(out / ".notes.partial")
    (out / "a" / ".x.mp4.9.partial").mkdir()
    made(videos, out)
    assert sorted(name for name in ours if (out / name).exists()) == []
    assert sorted(name for name in mine if not (out / name).exists()) == []
    assert (out / "a" / ".x.mp4.8.partial").is_symlink()
    assert (out / "a" / ".x.mp4.9.partial").is_dir()


def test_a_forged_name_deletes_nothing_elsewhere(out: Path, tmp_path: Path) -> None:
    out.mkdir()
    (tmp_path / ".x.mp4.7.partial").touch()
    (out / "link").symlink_to(tmp_path)
    delete_unfinished(
        out, ["../x.mp4", f"{tmp_path}/x.mp4", "link/x.mp4", "a\0b/x.mp4", "a\0b", "y" * 300 + "/x.mp4", ""]
    )
    assert (tmp_path / ".x.mp4.7.partial").exists()


_ERRORS = pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.EMFILE, errno.EACCES])


def shut(monkeypatch: pytest.MonkeyPatch, name: str, code: int, whole: str) -> None:
    """Let a call fail for the path `whole`."""
    real = getattr(os, name)

    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        if os.fspath(path) == whole:
            raise OSError(code, os.strerror(code), whole)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, name, call)


@_ERRORS
def test_the_copy_of_a_source_that_could_not_be_read_is_not_stale(
    code: int, videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made(videos, out)
    copy = (out / "a" / "x.mp4").stat()
    with monkeypatch.context() as patch:
        shut(patch, "stat", code, str(videos / "a" / "x.avi"))
        report = made(videos, out, remove_stale=True)
        assert [path for path, _ in report.skipped] == ["a/x.avi"]
        assert (report.kept, report.stale) == (1, [])
        assert main(["prepare", str(videos), str(out), "--dry-run"]) == 0
        assert "stale" not in capsys.readouterr().out
    assert (out / "a" / "x.mp4").stat() == copy
    assert made(videos, out).kept == 2
    (videos / "a" / "x.avi").unlink()
    assert made(videos, out).stale == ["a/x.mp4"]


@_ERRORS
def test_the_copies_of_a_folder_that_could_not_be_listed_are_not_stale(
    code: int, videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(videos / "b.avi", "mpeg4", frames=8)
    made(videos, out)
    with monkeypatch.context() as patch:
        shut(patch, "scandir", code, str(videos / "a"))
        assert [name for name in made(videos, out, remove_stale=True).stale if name.endswith(".mp4")] == []
    assert made(videos, out).kept == 3


def test_the_copies_of_a_tar_that_could_not_be_read_are_not_stale(videos: Path, out: Path) -> None:
    with tarfile.open(videos / "t.tar", "w") as tar:
        tar.add(videos / "a" / "x.avi", "c/x.avi")
    made(videos, out)
    whole = (videos / "t.tar").read_bytes()
    (videos / "t.tar").write_bytes(b"")
    assert made(videos, out, remove_stale=True).stale == []
    (videos / "t.tar").write_bytes(whole)
    (out / "t.tar" / "c" / "x.mp4").stat()


def test_the_copy_of_a_source_that_is_damaged_now_is_kept_until_the_source_is_gone(videos: Path, out: Path) -> None:
    (videos / "train.txt").unlink()
    made(videos, out)
    (videos / "a" / "x.avi").write_bytes(b"damaged")
    report = made(videos, out, remove_stale=True)
    assert ([path for path, _ in report.skipped], report.stale) == (["a/x.avi"], [])
    assert (out / "a" / "x.mp4").is_file()
    assert "a/x.mp4" not in (out / "videos.csv").read_text()
    (videos / "a" / "x.avi").unlink()
    assert made(videos, out, remove_stale=True).stale == ["a/x.mp4"]
    assert not (out / "a" / "x.mp4").exists()


def test_the_copy_of_a_source_that_fails_now_is_not_stale(
    videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(videos, out)
    make_clip(videos / "a" / "x.avi", "mpeg4", frames=9)
    real = encode

    def fails(video: Any, *others: Any) -> None:
        if video.path.name == "x.avi":
            raise VidsslError("it fails")
        real(video, *others)

    monkeypatch.setattr(make, "encode", fails)
    report = made(videos, out, remove_stale=True)
    assert (dict(report.skipped), report.stale) == ({"a/x.avi": "it fails"}, [])
    assert (out / "a" / "x.mp4").is_file()
