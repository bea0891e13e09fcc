"""What earlier calls left in OUT: what they did not finish is deleted, and nothing that a user put there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import VideoIndex
from vidssl.prepare import Encoding, PrepareResult, prepare
from vidssl.prepare.journal import JOURNAL
from vidssl.prepare.stale import delete_unfinished
from vidssl.pretext import Vcop

TASK = Vcop(clip_length=4, interval=2)
_LONG = "y" * 230


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    (root / "a").mkdir(parents=True)
    for name in ("a/x.avi", f"a/{_LONG}.avi"):
        make_clip(tmp_path / "clip.avi", "mpeg4", frames=8).rename(root / name)
    (root / "train.txt").write_text("a/x.avi 1\n")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def made(videos: Path, out: Path, *, remove_stale: bool = False) -> PrepareResult:
    index = VideoIndex.build(videos, progress=False)
    return prepare(index, out, Encoding(), TASK, workers=1, progress=False, remove_stale=remove_stale)


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
