"""Diving48: labels are dives, groups the videos that clips are cut from, and a file is a clip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidssl import VidsslError
from vidssl.cli import main
from vidssl.datasets import diving48

VOCABULARY = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]
TRAIN = [
    {"vid_name": "-mmq0PT-u8k_00155", "label": 0, "start_frame": 0, "end_frame": 48},
    {"vid_name": "-MMq0PT-u8k_00155", "label": 1, "start_frame": 0, "end_frame": 70},
]
TEST = [{"vid_name": "_8Vy3dlHg2w_00000", "label": 1, "start_frame": 0, "end_frame": 62}]


def release(root: Path, folder: str = "annotations") -> Path:
    videos, lists = root / "rgb", root / folder
    videos.mkdir(parents=True)
    lists.mkdir(exist_ok=True)
    for name, content in (("vocab", VOCABULARY), ("V2_train", TRAIN), ("V2_test", TEST)):
        (lists / f"Diving48_{name}.json").write_text(json.dumps(content))
    for one in (*TRAIN, *TEST):
        (videos / f"{one['vid_name']}.mp4").write_bytes(b"x")
    return videos


@pytest.mark.parametrize("folder", ["annotations", ".", "rgb"])
def test_parts_labels_groups_and_files(folder: str, tmp_path: Path) -> None:
    videos = release(tmp_path, "annotations" if folder == "rgb" else folder)
    if folder == "rgb":
        for path in (tmp_path / "annotations").iterdir():
            path.rename(videos / path.name)
    found = diving48(videos)
    assert {part: [entry[:4] for entry in entries] for part, entries in found.parts.items()} == {
        "train_2": [  # ids differ by their case
            ("-mmq0PT-u8k_00155", videos / "-mmq0PT-u8k_00155.mp4", "Back 15som 05Twis FREE", "-mmq0PT-u8k"),
            ("-MMq0PT-u8k_00155", videos / "-MMq0PT-u8k_00155.mp4", "Back 15som 15Twis FREE", "-MMq0PT-u8k"),
        ],
        "test_2": [("_8Vy3dlHg2w_00000", videos / "_8Vy3dlHg2w_00000.mp4", "Back 15som 15Twis FREE", "_8Vy3dlHg2w")],
    }
    assert found.whole
    assert found.notes[:3] == [
        "Diving48_vocab.json names 2 dives; the release has 48",
        "Diving48_V2_train.json names 2 videos; the release has 15027",
        "Diving48_V2_test.json names 1 videos; the release has 1970",
    ]


def test_what_is_missing_or_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, lists = release(tmp_path), tmp_path / "annotations"
    (videos / "-mmq0PT-u8k_00155.mp4").rename(videos / "other_1.mp4")
    changed = [
        {**TEST[0], "vid_name": "-mmq0PT-u8k_00001", "start_frame": 5},
        {**TEST[0], "label": 2, "end_frame": 0},
        {**TEST[0], "label": "1"},
    ]
    (lists / "Diving48_V2_test.json").write_text(json.dumps(changed))
    (lists / "Diving48_test.json").write_text(json.dumps(TEST))
    found = diving48(videos)
    assert found.missing == {"train_2": ["-mmq0PT-u8k_00155"], "test_2": ["-mmq0PT-u8k_00001"]}
    assert found.extra == ["other_1.mp4"]
    list_name = "Diving48_V2_test.json"
    assert found.problems == [
        f"{list_name}: entry 1: -mmq0PT-u8k_00001 begins at frame 5, but files are read from their first frame; "
        "cut the clip out, and give it start_frame 0",
        f"{list_name}: entry 2: _8Vy3dlHg2w_00000 has the label 2, which is no dive",
        f"{list_name}: entry 2: _8Vy3dlHg2w_00000 has the frames [0, 0], which are no start and end",
        f'{list_name}: entry 3: _8Vy3dlHg2w_00000 has the label "1", which is no dive',
        "test_2 lists _8Vy3dlHg2w_00000 2 times; keep one line",
        f"Diving48_train.json is missing in {lists}",
    ]
    assert "train_2 and test_2 share 1 videos that clips are cut from, such as -mmq0PT-u8k" in found.notes
    assert [entry.name for entry in found.parts["test_1"]] == ["_8Vy3dlHg2w_00000"]
    with pytest.raises(SystemExit, match="1"):
        main(["datasets", "check", "diving48", str(videos)])
    assert "diving48: 2 missing, 6 problems" in capsys.readouterr().err


def test_without_the_vocabulary_labels_are_numbers(tmp_path: Path) -> None:
    videos = release(tmp_path)
    (tmp_path / "annotations" / "Diving48_vocab.json").unlink()
    found = diving48(videos)
    assert [entry.label for entry in found.parts["train_2"]] == ["0", "1"]
    assert any("Diving48_vocab.json is missing" in note for note in found.notes)


def test_a_vocabulary_alone_is_no_data_set(tmp_path: Path) -> None:
    videos = release(tmp_path)
    for name in ("train", "test"):
        (tmp_path / "annotations" / f"Diving48_V2_{name}.json").unlink()
    (problem,) = diving48(videos).problems
    assert problem.startswith("no list of clips in ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("vocab", '["Back"]', r"Diving48_vocab.json: not a list of dives"),
        ("vocab", '[["Back", "FREE"], ["Back", "FREE"]]', r"names the dive 'Back FREE' twice"),
        ("V2_train", "{}", r"Diving48_V2_train.json: not a list of objects with 'vid_name'"),
        ("V2_train", '[{"vid_name": "a/b"}]', r"entry 1: the vid_name \"a/b\" is not a name"),
        ("V2_train", '[{"vid_name": 1}]', r"entry 1: the vid_name 1 is not a name"),
    ],
)
def test_corrupt_lists_are_refused(name: str, content: str, said: str, tmp_path: Path) -> None:
    videos = release(tmp_path)
    (tmp_path / "annotations" / f"Diving48_{name}.json").write_text(content)
    with pytest.raises(VidsslError, match=said):
        diving48(videos)
