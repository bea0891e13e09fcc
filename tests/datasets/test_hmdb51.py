"""HMDB51's lists: 0 in neither part, 1 training, 2 test."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidssl import VidsslError
from vidssl.datasets import hmdb51

PARTS = ("train_1", "test_1", "train_2", "test_2", "train_3", "test_3")


def release(root: Path) -> tuple[Path, Path]:
    videos, lists = root / "hmdb51", root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for label in ("brush_hair", "catch"):
        (videos / label).mkdir(parents=True)
        names = [f"#2_Film_{film}_(1)_{label}_h_nm_np1_ba_goo_{at}.avi" for film in ("A", "B", "C") for at in (0, 1)]
        for name in names:
            (videos / label / name).write_bytes(b"x")
        for split in (1, 2, 3):
            codes = dict(zip("ABC", ((1, 2, 0), (2, 1, 0), (0, 1, 2))[split - 1], strict=True))
            lines = [f"{name} {codes[name.split('_')[2]]} \n" for name in names]
            (lists / f"{label}_test_split{split}.txt").write_text("".join(lines))
    return videos, lists


def test_the_parts(tmp_path: Path) -> None:
    videos, _ = release(tmp_path)
    found = hmdb51(videos)
    assert {part: len(entries) for part, entries in found.parts.items()} == dict.fromkeys(PARTS, 4)
    assert not found.missing
    assert found.extra == []  # what a split leaves out is known all the same
    entry = found.parts["test_1"][0]
    assert (entry.label, entry.group) == ("brush_hair", "#2_Film_B_(1)")
    assert entry.path is not None
    assert entry.path.name.startswith("#2_Film_B")
    assert [problem[:8] for problem in found.problems] == ["2 lists "] * 3  # of 51 classes
    assert "split 1 leaves 4 videos out, as its lists say" in found.notes
    assert "brush_hair_test_split1.txt has 2 train and 2 test videos; the release has 70 and 30" in found.notes


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    videos, lists = release(tmp_path)
    next((videos / "catch").glob("*Film_A*_0.avi")).unlink()
    assert [len(names) for part, names in hmdb51(videos).missing.items() if part == "train_1"] == [1]
    (videos / "frames.zip").touch()
    assert "1 ignored (.zip): frames.zip" in hmdb51(videos).notes
    (lists / "catch_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(VidsslError, match=r"line 1: 'a.avi 3' is not a video and 0, 1 or 2"):
        hmdb51(videos)
