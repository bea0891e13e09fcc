"""UCF101 as it is released: splits, groups, the two spellings of one class, numbers from 1."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vidssl import VidsslError
from vidssl.cli import main
from vidssl.datasets import ucf101

CLASSES = ("ApplyEyeMakeup", "HandstandPushups")
NAMES = {"ApplyEyeMakeup": "ApplyEyeMakeup", "HandstandPushups": "HandStandPushups"}  # of the files, as released


def release(root: Path, *, splits: int = 3) -> tuple[Path, Path]:
    """Two classes, four groups of two clips; split N tests on group N."""
    videos, lists = root / "UCF-101", root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("".join(f"{at} {name}\r\n" for at, name in enumerate(CLASSES, start=1)))
    clips = [
        (name, group, f"{name}/v_{NAMES[name]}_g{group:02d}_c{clip:02d}.avi")
        for name in CLASSES
        for group in range(1, 5)
        for clip in (1, 2)
    ]
    for _, _, path in clips:
        (videos / path).parent.mkdir(parents=True, exist_ok=True)
        (videos / path).write_bytes(b"not empty")
    for split in range(1, splits + 1):
        train = [f"{path} {CLASSES.index(name) + 1}" for name, group, path in clips if group != split]
        (lists / f"trainlist{split:02d}.txt").write_text("\n".join(train) + "\n")
        (lists / f"testlist{split:02d}.txt").write_text(
            "\n".join(path for _, group, path in clips if group == split) + "\n"
        )
    return videos, lists


def test_the_three_splits(tmp_path: Path) -> None:
    videos, lists = release(tmp_path)
    found = ucf101(videos)  # whose lists lie beside it
    assert found.whole
    assert list(found.parts) == ["train_1", "test_1", "train_2", "test_2", "train_3", "test_3"]
    assert [len(entries) for entries in found.parts.values()] == [12, 4] * 3
    entry = next(one for one in found.parts["test_2"] if "HandStand" in one.name)
    assert (entry.label, entry.group) == ("HandstandPushups", "HandstandPushups_g02")
    assert entry.path == (videos / "HandstandPushups/v_HandStandPushups_g02_c01.avi").resolve()
    assert ucf101(videos, lists).parts == found.parts
    assert found.notes[0] == "split 1 names 16 videos; the release has 13320"


def test_other_folders_spellings_and_endings(tmp_path: Path) -> None:
    videos, lists = release(tmp_path)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in videos.rglob("*.avi"):
        shutil.copy(path, flat / path.name.replace("HandStand", "handstand").replace(".avi", ".mp4"))
    assert ucf101(flat, lists).whole


def test_what_is_missing_or_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, lists = release(tmp_path)
    (videos / "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi").unlink()
    (videos / "ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi").write_bytes(b"")
    (videos / "ApplyEyeMakeup/mine.avi").write_bytes(b"x")
    with (lists / "testlist01.txt").open("a") as file:
        file.write("ApplyEyeMakeup/v_ApplyEyeMakeup_g03_c01.avi\nJuggling/v_Juggling_g01_c01.avi\n")
    (lists / "testlist03.txt").unlink()
    train = (lists / "trainlist02.txt").read_text()
    (lists / "trainlist02.txt").write_text(train.replace("g01_c02.avi 1", "g01_c02.avi 0", 1))
    found = ucf101(videos)
    assert not found.whole
    assert found.missing["test_1"] == ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"]
    assert found.extra == ["ApplyEyeMakeup/mine.avi"]
    problems = "\n".join(found.problems)
    for said in (
        "testlist01.txt: line 6: 'Juggling/v_Juggling_g01_c01.avi' names no class of classInd.txt",
        "train_1 and test_1 share 1 groups, such as ApplyEyeMakeup_g03: both contain near duplicates",
        "testlist03.txt is missing",
        "v_ApplyEyeMakeup_g01_c02.avi has the number 0, but its class has 1",
        "v_ApplyEyeMakeup_g02_c01.avi: empty file",
    ):
        assert said in problems
    with pytest.raises(SystemExit) as stop:
        main(["datasets", "check", "ucf101", str(videos)])
    assert stop.value.code == 1
    said = capsys.readouterr().out
    assert "missing in test_1: ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi" in said
    assert "not in any list: ApplyEyeMakeup/mine.avi" in said


def test_a_clip_in_two_folders_is_a_problem_and_neither_missing_nor_unlisted(tmp_path: Path) -> None:
    videos, _ = release(tmp_path)
    name = "v_ApplyEyeMakeup_g01_c01.avi"
    for folder in ("copies", "more copies"):
        (videos / folder).mkdir()
        shutil.copy(videos / "ApplyEyeMakeup" / name, videos / folder / name)
    assert ucf101(videos).whole  # the file in the folder of the class is taken
    assert len(ucf101(videos).extra) == 2
    (videos / "ApplyEyeMakeup" / name).unlink()
    found = ucf101(videos)
    assert found.problems == [f"copies/{name} and more copies/{name}: these files have the same name; keep one"]
    assert not found.missing
    assert found.extra == []
    assert "v_ApplyEyeMakeup_g01_c01" not in str([path for part in found.parts.values() for _, path, *_ in part])


def test_numbers_from_zero_are_said(tmp_path: Path) -> None:
    videos, lists = release(tmp_path)
    (lists / "classInd.txt").write_text("0 ApplyEyeMakeup\n1 HandstandPushups\n")
    assert any("begins with 0" in problem for problem in ucf101(videos).problems)


def test_no_lists_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, lists = release(tmp_path)
    shutil.rmtree(lists)
    with pytest.raises(
        VidsslError, match=r"no trainlist0\*\.txt in .*; name the folder ucfTrainTestlist of the release"
    ):
        ucf101(videos)
    assert main(["datasets", "check", "ucf101", str(tmp_path / "nowhere"), "--annotations", str(tmp_path)]) == 2
    assert "no trainlist0*.txt" in capsys.readouterr().err
