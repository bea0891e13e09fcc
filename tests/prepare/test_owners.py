"""prepare: a file in OUT that a user put there is neither deleted nor replaced, whatever its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.prepare.making import made
from vidssl import VidsslError
from vidssl.cli import main
from vidssl.prepare import Encoding, make
from vidssl.prepare.encode import encode
from vidssl.prepare.journal import JOURNAL


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for name in ("a/x.avi", "a/y.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_clip(root / name, "mpeg4", frames=8)
    (root / "train.txt").write_text("a/x.avi 1\na/y.avi 2\n")
    return root


def forget_times(out: Path) -> None:
    """Leave what earlier versions recorded."""
    lines = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    kept = [line for line in lines if "written" not in line] + [{"lists": ["train.txt"]}]
    (out / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_a_stale_name_that_a_user_gave_to_another_file_is_not_deleted(
    videos: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(videos, out)
    (videos / "a" / "x.avi").unlink()
    (out / "a" / "x.mp4").write_bytes(b"mine")
    for options in ([], ["--dry-run"], ["--remove-stale"]):
        assert main(["prepare", str(videos), str(out), *options]) == 0
        said = capsys.readouterr().out
        assert "1 files of earlier calls belong to no source now (kept, as they have changed since" in said
        assert "stale: a/x.mp4" in said
        assert (out / "a" / "x.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("change", ["time", "size", "link"])
def test_a_stale_copy_is_deleted_only_if_size_and_time_are_unchanged(change: str, videos: Path, out: Path) -> None:
    made(videos, out)
    for name in ("a/x", "train"):
        next(videos.glob(f"{name}.*")).unlink()
    copy = out / "a" / "x.mp4"
    if change == "time":
        os.utime(copy, ns=(0, copy.stat().st_mtime_ns + 1))
    elif change == "size":
        time = copy.stat().st_mtime_ns
        copy.write_bytes(copy.read_bytes() + b"0")
        os.utime(copy, ns=(time, time))
    else:
        copy.rename(out / "moved")
        copy.symlink_to(out / "moved")
    report = made(videos, out, remove_stale=True)
    assert report.stale == ([] if change == "link" else ["a/x.mp4"]) + ["train.txt"]
    assert report.changed == report.stale[:-1]
    assert os.path.lexists(copy)
    assert not (out / "train.txt").exists()


def test_files_of_which_no_time_is_recorded_are_kept(videos: Path, out: Path) -> None:
    made(videos, out)
    forget_times(out)
    for name in ("a/x.avi", "train.txt"):
        (videos / name).unlink()
    report = made(videos, out, remove_stale=True)
    assert (report.kept, report.stale, report.changed) == (1, ["a/x.mp4", "train.txt"], ["a/x.mp4", "train.txt"])
    assert (out / "a" / "x.mp4").is_file()
    assert (out / "train.txt").is_file()


def untouched(path: Path) -> tuple[int, ...]:
    """What changes if something is written or replaced there. The access time is not in it: looking changes it too."""
    about = path.lstat()
    return about.st_ino, about.st_mode, about.st_nlink, about.st_size, about.st_mtime_ns, about.st_ctime_ns


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_file_under_the_name_of_a_new_copy_is_not_replaced(
    kind: str, videos: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(videos, out)
    make_clip(videos / "a" / "new.avi", "mpeg4", frames=8)
    new = out / "a" / "new.mp4"
    if kind == "file":
        new.write_bytes(b"mine")
    elif kind == "folder":
        new.mkdir()
    else:
        new.symlink_to("nowhere")
    before = untouched(new)
    for options in ([], ["--dry-run"]):
        assert main(["prepare", str(videos), str(out), *options]) == 2
        said = capsys.readouterr().err
        assert "a/new.mp4 in it would be replaced, but `prepare` did not write it" in said
        assert "move it elsewhere, and" in said
        assert untouched(new) == before
    new.rename(out / "mine.mp4")
    assert made(videos, out).made == 1


def test_a_copy_that_a_user_replaced_is_not_replaced(videos: Path, out: Path) -> None:
    made(videos, out)
    for name in ("x", "y"):
        (out / "a" / f"{name}.mp4").write_bytes(b"mine")
    with pytest.raises(
        VidsslError, match=r"a/x\.mp4 in it would be replaced, .*changed since \(and 1 more such files\)"
    ):
        made(videos, out)
    assert (out / "a" / "y.mp4").read_bytes() == b"mine"


def test_a_copy_is_replaced_if_only_its_source_has_changed(videos: Path, out: Path) -> None:
    made(videos, out)
    make_clip(videos / "a" / "x.avi", "mpeg4", frames=9)
    report = made(videos, out)
    assert (report.made, report.kept, report.lists) == (1, 1, {"train.txt": 0})


def test_a_file_that_appears_while_its_copy_is_made_is_not_replaced(
    videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encode

    def appears(video: object, about: object, target: Path, how: Encoding) -> None:
        real(video, about, target, how)  # type: ignore[arg-type]
        (out / "a" / "x.mp4").write_bytes(b"mine")

    monkeypatch.setattr(make, "encode", appears)
    report = made(videos, out)
    assert report.made == 1
    assert "a/x.mp4 in it would be replaced" in dict(report.skipped)["a/x.avi"]
    assert (out / "a" / "x.mp4").read_bytes() == b"mine"
    assert not list(out.rglob("*.partial"))


def test_a_list_of_a_user_is_not_replaced(videos: Path, out: Path) -> None:
    (videos / "test.txt").write_text("a/y.avi 2\n")
    made(videos, out)
    (out / "train.txt").write_text("mine\n")
    for _ in range(2):  # the copy keeps its new name
        report = made(videos, out, remove_stale=True)
        assert sorted(report.lists) == ["source_train.txt", "test.txt"]
        assert (report.stale, report.changed) == (["train.txt"], ["train.txt"])
        assert (out / "train.txt").read_text() == "mine\n"
        assert (out / "source_train.txt").read_text() == "a/x.mp4 1\na/y.mp4 2\n"


# Ends as kill -9 does, right before or after the second copy gets its name.
KILLED = """
import os, sys
from pathlib import Path
from vidssl.cli import main
real, count = Path.replace, []
def replace(path, target):
    if str(target).endswith(".mp4"):
        count.append(1)
    if len(count) == 2 and WHEN == "before":
        os._exit(9)
    real(path, target)
    if len(count) == 2:
        os._exit(9)
    return target
WHEN = sys.argv.pop(1)
Path.replace = replace
sys.exit(main())
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_call_that_was_killed_while_it_named_a_copy_continues(when: str, videos: Path, out: Path) -> None:
    made(videos, out)
    for name in ("x", "y"):
        make_clip(videos / "a" / f"{name}.avi", "mpeg4", frames=9)
    command = [sys.executable, "-c", KILLED, when, "prepare", str(videos), str(out), "--workers", "1"]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True).returncode == 9
    report = made(videos, out)
    assert (report.kept + report.made, report.skipped, report.stale) == (2, [], [])
    assert report.made >= 1
    assert not list(out.rglob("*.partial"))
