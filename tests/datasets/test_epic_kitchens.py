"""EPIC-KITCHENS-100: a video is a segment of a file, by its times; labels are actions, verbs or nouns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.datasets import epic_kitchens

HEAD = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
TRAIN = [
    "P01_01_0,P01,P01_01,00:00:00.560,00:00:00.14,00:00:01.37,8,202,open door,open,1,door,0,['door'],[0]",
    "P01_01_1,P01,P01_01,00:00:01.560,00:00:01.00,00:00:01.80,60,108,put lid on box,put-on,0,lid,1,"
    "\"['lid', 'box']\",\"[1, 0]\"",
    "P01_01_2,P01,P01_01,00:00:01.570,00:00:01.00,00:00:01.80,60,108,put box,put,0,door,0,['box'],[0]",
]
VALIDATION = ["P02_101_0,P02,P02_101,0,00:00:00.50,00:00:01.50,25,75,open lid,open,1,lid,1,['lid'],[1]"]
TEST = ["0,P03_01_0,P03,P03_01,00:00:00.1,00:00:00.00,00:00:01.00,0,60"]
TEST_HEAD = HEAD[: HEAD.index(",narration,verb")]
VERBS = "id,key,instances,category\n0,put,\"['put', 'put-on']\",leave\n1,open,['open'],access\n"
NOUNS = "id,key,instances,category\n0,door,['door'],appliances\n1,lid,\"['lid', 'cap:bottle']\",containers\n"


def release(root: Path) -> Path:
    lists = root / "annotations"
    lists.mkdir()
    for number, name in enumerate(("P01_01", "P02_101", "P03_01")):
        (root / "videos" / name[:3]).mkdir(parents=True)
        make_clip(root / "videos" / name[:3] / f"{name}.MP4.mp4", frames=50 + number)
        (root / "videos" / name[:3] / f"{name}.MP4.mp4").rename(root / "videos" / name[:3] / f"{name}.MP4")
    (lists / "EPIC_100_train.csv").write_text("\n".join([HEAD, *TRAIN]) + "\n")
    (lists / "EPIC_100_validation.csv").write_text("\n".join([HEAD, *VALIDATION]) + "\n")
    (lists / "EPIC_100_test_timestamps.csv").write_text("\n".join([f"uid,{TEST_HEAD}", *TEST]) + "\n")
    (lists / "EPIC_100_verb_classes.csv").write_text(VERBS)
    (lists / "EPIC_100_noun_classes.csv").write_text(NOUNS)
    return root / "videos"


def test_parts_labels_groups_and_times(tmp_path: Path) -> None:
    videos = release(tmp_path)
    found = epic_kitchens(videos)
    assert {part: [(*entry[:4], str(entry.excerpt)) for entry in entries] for part, entries in found.parts.items()} == {
        "train": [
            ("P01_01_0", videos / "P01/P01_01.MP4", "open door", "P01_01", "#t=0.14,1.37"),
            ("P01_01_1", videos / "P01/P01_01.MP4", "put lid", "P01_01", "#t=1,1.8"),
        ],
        "validation": [("P02_101_0", videos / "P02/P02_101.MP4", "open lid", "P02_101", "#t=0.5,1.5")],
        "test": [("P03_01_0", videos / "P03/P03_01.MP4", None, "P03_01", "#t=0,1")],
    }
    assert found.whole
    assert found.notes[:2] == [
        "EPIC_100_train.csv: 1 actions are left out, as an action before them has the same times",
        "EPIC_100_train.csv names 3 segments; the release has 67217",
    ]
    assert [entry.label for entry in epic_kitchens(videos, labels="verb").parts["train"]] == ["open", "put"]
    assert [entry.label for entry in epic_kitchens(videos, labels="noun").parts["train"]] == ["door", "lid"]


def test_what_is_missing_or_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, lists = release(tmp_path), tmp_path / "annotations"
    (videos / "P02/P02_101.MP4").unlink()
    (lists / "EPIC_100_noun_classes.csv").unlink()
    changed = [
        *TRAIN,
        TRAIN[0].replace("P01_01_0,", "P01_01_3,").replace("00:00:01.37", "00:00:00.14"),
        TRAIN[0].replace("P01_01_0,", "P01_01_4,").replace("open,1,", "open,7,"),
        TRAIN[0].replace("P01_01_0,", "P01_01_5,").replace("door,0,", "door,none,"),
    ]
    (lists / "EPIC_100_train.csv").write_text("\n".join([HEAD, *changed]))
    with pytest.raises(SystemExit, match="1"):
        main(["datasets", "check", "epic_kitchens", str(videos)])
    said = capsys.readouterr().out
    assert "line 5: P01_01_3 is left out: the segment 00:00:00.14 to 00:00:00.14 is refused: it is empty" in said
    assert "line 6: P01_01_4 is left out: unknown verb_class '7'" in said
    assert "line 7: P01_01_5 is left out: unknown noun_class 'none'" in said
    assert "EPIC_100_noun_classes.csv is missing" in said
    assert "missing in validation: P02_101_0" in said
    assert [entry.label for entry in epic_kitchens(videos).parts["train"]] == ["open 0", "put 1"]
    (lists / "EPIC_100_train.csv").write_text("narration_id,video_id\nP01_01_0,P01_01\n")
    with pytest.raises(VidsslError, match="lacks the columns start_timestamp, stop_timestamp, verb_class, noun_class"):
        epic_kitchens(videos)


def test_a_part_without_the_test_list_is_whole_with_subset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = release(tmp_path)
    for path in tmp_path.rglob("EPIC_100_test_timestamps.csv"):
        path.unlink()
    next(videos.rglob("P02_101.*")).unlink()
    with pytest.raises(SystemExit, match="1"):
        main(["datasets", "check", "epic_kitchens", str(videos)])
    assert main(["datasets", "check", "epic_kitchens", str(videos), "--subset"]) == 0
    said = capsys.readouterr().out
    assert "note: EPIC_100_test_timestamps.csv is missing" in said
    assert "missing in validation: P02_101_0" in said
    for path in [*videos.rglob("P*.MP4")]:
        path.rename(path.with_name(f"other_{path.name}"))
    with pytest.raises(SystemExit, match="1"):
        main(["datasets", "check", "epic_kitchens", str(videos), "--subset"])


def test_its_index_has_a_row_for_each_segment(tmp_path: Path) -> None:
    videos = release(tmp_path)
    main(["datasets", "lists", "epic_kitchens_verbs", str(videos), "--out", str(tmp_path / "l"), "--index"])
    index = VideoIndex.load(tmp_path / "l" / "epic_kitchens_verbs_train.arrow", allow_outside=True)
    rows = [index.row(row) for row in range(len(index))]
    assert [(row["start"], row["end"], row["label"], row["group"]) for row in rows] == [
        (4, 35, "open", "P01_01"),  # at 25 frames a second, of which 0.14 to 1.37 s shows those of 0.16 to 1.36 s
        (25, 45, "put", "P01_01"),
    ]
