"""Folders of frames as a source: which folders are videos, how they are numbered, lists of them, and what changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip, make_frames
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.index.check import Check
from vidssl.index.frames import find_frames
from vidssl.index.sources import find_videos
from vidssl.video.decode import decode

GAP = "extract the frames again, or number the pictures without a gap"


def build(source: Path, **options: Any) -> VideoIndex:
    return VideoIndex.build(source, workers=2, progress=False, **options)


def names(*numbers: int, pattern: str = "img_{:05d}.jpg") -> list[str]:
    return [pattern.format(number) for number in numbers]


@pytest.mark.parametrize(
    ("found", "first", "refused"),
    [
        (names(1, 2, 3, 4), "img_00001.jpg", ""),
        (names(*range(17, 120)), "img_00017.jpg", ""),
        (names(*range(8, 12), pattern="{}.png"), "8.png", ""),
        (names(*range(98, 103), pattern="{:02d}.JPEG"), "98.JPEG", ""),
        (names(0, 1, 2, 3, pattern="frame{}.jpg"), "frame0.jpg", ""),
        ([*names(1, 2, 3, 4), "cover.jpg", "thumb_1.jpg", "._img_00001.jpg"], "img_00001.jpg", ""),
        (names(1, 2, 4, 5), "", f"img_00003.jpg is missing before img_00004.jpg; {GAP}"),
        (names(0, 10, 20, 30), "", f"img_00001.jpg to img_00009.jpg are missing before img_00010.jpg; {GAP}"),
        (
            [*names(1, 2, 3, 4), "img_5.jpg"],
            "",
            "img_5.jpg is numbered in another way than img_00001.jpg; rename it, or move it elsewhere",
        ),
        (
            [*names(1, 2, 3, 4), "img_2.jpg"],
            "",
            "img_2.jpg is numbered in another way than img_00001.jpg; rename it, or move it elsewhere",
        ),
        (
            names(*range(2**31, 2**31 + 4)),
            "",
            "its pictures have numbers up to 2147483651, but 2147483647 is the largest; number them anew",
        ),
        (
            [*names(1, 2, 3, 4, 5), *names(1, 2, 3, 4, pattern="flow_x_{:05d}.jpg")],
            "",
            "2 numberings of pictures in one folder: img_*.jpg (5), flow_x_*.jpg (4); name the frames: "
            "`vidssl index DATA --frames 'img_*.jpg' --out FILE.arrow`",
        ),
    ],
)
def test_numberings(found: list[str], first: str, refused: str) -> None:
    frames = find_frames(Path("v"), found)
    assert frames is not None
    assert (frames.first, frames.refused) == (first, refused)


def test_few_or_unnumbered_pictures_are_no_frames() -> None:
    assert find_frames(Path("v"), [*names(1, 2, 3), "a.jpg", "b.jpg", "c.jpg", "d.jpg"]) is None
    assert find_frames(Path("v"), names(1, 2, 3), least=1) is not None
    assert find_frames(Path("v"), names(1, 2, 3, 4), "flow_*") is None


def test_a_pattern_names_the_frames() -> None:
    both = [*names(1, 2, 3, 4), *names(1, 2, 3, 4, pattern="flow_x_{:05d}.jpg")]
    frames = find_frames(Path("v"), both, "img_*")
    assert frames is not None
    assert frames.first == "img_00001.jpg"


def test_videos_of_a_tree(tmp_path: Path) -> None:
    """A folder with numbered pictures and no videos is one; its class is the folder around it."""
    for name in ("run/v1", "run/v.2", "top"):
        make_frames(tmp_path / name, frames=5)
    make_clip(tmp_path / "run" / "a.mp4", frames=10)
    make_frames(tmp_path / "run", frames=4, name="thumb_{:02d}.png")  # beside a video
    make_frames(tmp_path, frames=4)  # above folders with videos
    (tmp_path / "run" / "v1" / "cover.jpg").touch()
    (tmp_path / "run" / "nothing").mkdir()
    root, found, notes = find_videos(tmp_path)
    assert root == tmp_path
    assert [(one.path, one.label, one.archive) for one in found] == [
        ("run/a.mp4", "run", None),
        ("run/v.2", "run", "run/v.2/img_00001.jpg"),
        ("run/v1", "run", "run/v1/img_00001.jpg"),
        ("top", None, "top/img_00001.jpg"),
    ]
    assert sorted(notes) == [
        "1 ignored (empty folder): run/nothing/",
        "4 ignored (.png): run/thumb_01.png, run/thumb_02.png, run/thumb_03.png, ...",
        "5 ignored (.jpg): img_00001.jpg, img_00002.jpg, img_00003.jpg, ...",
    ]
    assert build(tmp_path).column("frames").to_pylist() == [10, 5, 5, 5]


def test_one_folder_of_frames_is_a_source(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v", frames=5)
    index = build(folder)
    assert (index.root, index.column("path").to_pylist(), index.frames(0)) == (tmp_path, ["v"], 5)


def test_folders_that_cannot_be_used_are_rows_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_frames(tmp_path / "c" / "good", frames=5)
    (make_frames(tmp_path / "c" / "gap", frames=9) / "img_00005.jpg").unlink()
    make_frames(tmp_path / "c" / "two", frames=6)
    make_frames(tmp_path / "c" / "two", frames=5, name="flow_x_{:05d}.jpg")
    out = tmp_path / "i.arrow"
    assert main(["index", str(tmp_path / "c"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 videos usable" in said
    assert f"left out: gap: img_00005.jpg is missing before img_00006.jpg; {GAP}" in said
    assert "left out: two: 2 numberings of pictures in one folder: img_*.jpg (6), flow_x_*.jpg (5)" in said
    found = {one.path: one.status for one in Check(out)}
    assert found["gap"].startswith("img_00005.jpg is missing")
    assert found["good"] == "ok"
    command = ["index", str(tmp_path / "c"), "--out", str(out), "--frames", "img_*", "--frame-rate", "12.5"]
    assert main(command) == 0
    index = VideoIndex.load(out)
    assert index.column("status").to_pylist()[1:] == ["ok", "ok"]
    assert index.column("frames").to_pylist() == [0, 5, 6]
    assert index.column("frame_rate").to_pylist() == [None, 12.5, 12.5]  # also of a row that was known
    assert "2 videos read, 1 taken from the old index" in capsys.readouterr().out


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 2000])
def test_a_frame_rate_out_of_range(rate: float, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"frame_rate=.*: pass frames per second, above 0 and at most 1000"):
        build(tmp_path, frame_rate=rate)


@pytest.mark.parametrize("change", ["more", "fewer", "other"])
def test_a_changed_folder_is_read_again(change: str, tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "a", frames=6)
    make_frames(tmp_path / "b", frames=6)
    index = build(tmp_path)
    assert index.is_current()
    assert build(tmp_path, known=index).read == 0
    if change == "more":
        make_frames(folder, frames=1, first=7)
    elif change == "fewer":
        (folder / "img_00006.jpg").unlink()
    else:
        os.truncate(folder / "img_00003.jpg", 200)
    assert not index.is_current()
    index.save(tmp_path / "i.arrow")
    found = {one.path: one.status for one in Check(tmp_path / "i.arrow")}
    assert found["b"] == "ok"
    assert found["a"].startswith("changed since it was indexed: ")
    again = build(tmp_path, known=index)
    assert again.read == 1
    assert again.frames(0) == {"more": 7, "fewer": 5, "other": 2}[change]


def test_checks_compare_every_frame(tmp_path: Path) -> None:
    make_frames(tmp_path / "a", frames=6)
    build(tmp_path, frame_rate=12).save(tmp_path / "i.arrow")
    for source in (tmp_path / "i.arrow", tmp_path):
        for deep in (False, True):
            (found,) = Check(source, deep=deep)
            assert (found.status, found.width, found.codec) == ("ok", 64, "mjpeg")


def test_an_index_finds_its_pictures_elsewhere(tmp_path: Path) -> None:
    make_frames(tmp_path / "one" / "a", frames=6)
    build(tmp_path / "one").save(tmp_path / "i.arrow")
    (tmp_path / "one").rename(tmp_path / "two")
    index = VideoIndex.load(tmp_path / "i.arrow", root=tmp_path / "two")
    assert decode(index.video(0), np.asarray([5])).data.shape == (1, 72, 64)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    for name, count in (("run/v1", 6), ("run/v 2", 5), ("walk/v3", 4), ("walk/short", 2)):
        make_frames(tmp_path / name, frames=count)
    make_clip(tmp_path / "walk" / "a.mp4", frames=10)
    (tmp_path / "walk" / "empty").mkdir()
    return tmp_path


def test_lists_of_tsn_and_mmaction2(frames: Path) -> None:
    (frames / "l.txt").write_text('run/v1 6 0\n"run/v 2" 5 0\nwalk/v3\t4\t1\nwalk/short, 2, 1\n')
    root, found, notes = find_videos(frames / "l.txt")
    assert (root, notes) == (frames, [])
    assert [(one.path, one.label, one.refused) for one in found] == [
        ("run/v 2", "0", ""),
        ("run/v1", "0", ""),
        ("walk/short", "1", ""),
        ("walk/v3", "1", ""),
    ]
    assert build(frames / "l.txt").column("frames").to_pylist() == [5, 6, 2, 4]


def test_the_number_of_frames_in_a_list_is_compared(frames: Path) -> None:
    (frames / "l.txt").write_text("run/v1 8 0\nwalk/v3 3 1\nwalk/empty 7 1\nwalk/gone 7 1\nwalk/a.mp4 1\n")
    _, found, notes = find_videos(frames / "l.txt")
    assert [(one.path, one.refused) for one in found] == [
        ("run/v1", "the list says 8 frames, but its folder has 6 pictures; extract them again, or correct line 1"),
        ("walk/a.mp4", ""),
        (
            "walk/empty",
            "a folder without numbered pictures; a list names videos, or folders of frames (img_00001.jpg, ...)",
        ),
        ("walk/gone", ""),
        ("walk/v3", ""),
    ]
    assert notes == ["line 2: walk/v3: the list says 3 frames, but its folder has 4 pictures; all are used"]
    assert dict(build(frames / "l.txt").skipped()).keys() == {"run/v1", "walk/empty", "walk/gone"}


def test_tables_and_bare_lines_name_folders(frames: Path) -> None:
    (frames / "l.csv").write_text("path,label,group\nrun/v1,r,g\nrun/v 2,r,h\n")
    assert build(frames / "l.csv").column("group").to_pylist() == ["h", "g"]
    (frames / "l.txt").write_text("run/v1\nwalk/a.mp4\n")
    assert build(frames / "l.txt").column("label").to_pylist() == ["run", "walk"]


@pytest.mark.parametrize("line", ["run/v1 6", "a.mp4 6 1"])
def test_other_layouts_are_refused(line: str, frames: Path) -> None:
    (frames / "l.txt").write_text(f"{line}\n")
    with pytest.raises(VidsslError, match=r"its first line is .*FOLDER FRAMES LABEL on each line"):
        find_videos(frames / "l.txt")


@pytest.mark.parametrize("line", ["run/v1 0 6 1", "run/v1 6 1 2"])
def test_three_numbers_are_refused_with_what_they_may_mean(line: str, frames: Path) -> None:
    (frames / "l.txt").write_text(f"{line}\n")
    with pytest.raises(VidsslError, match=rf"line 1 is '{line}': the three numbers may be the first frame, the number"):
        find_videos(frames / "l.txt")


def test_datasets_check_reads_them(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (frames / "l.txt").write_text("run/v1 6 0\nwalk/v3 4 1\nwalk/short 9 1\nwalk/gone 9 1\n")
    with pytest.raises(SystemExit, match="1"):
        main(["datasets", "check", "csv", str(frames / "l.txt")])
    said = capsys.readouterr().out
    assert "problem: walk/short: the list says 9 frames, but its folder has 2 pictures" in said
    assert "missing in all: walk/gone" in said
    assert main(["datasets", "check", "folder", str(frames)]) == 0
