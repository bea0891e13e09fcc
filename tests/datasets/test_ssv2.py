"""Something-Something V2: templates without brackets are labels; test answers are in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clips import make_clip, make_frames
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.datasets import ssv2

LABELS = {"Holding something next to something": "0", "Lifting something, then letting it drop down": "1"}
TRAIN = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {"id": "2", "label": "", "template": "Lifting [something], then letting it drop down", "placeholders": ["a cup"]},
]
VALIDATION = [{"id": "3", "label": "", "template": "Holding [something] next to [something]"}]
TEST = [{"id": "1420"}, {"id": "1421"}]
ANSWERS = "1420;Holding something next to something\n1421;Lifting something, then letting it drop down\n"


def release(root: Path, folder: str = "labels", prefix: str = "") -> Path:
    videos, lists = root / "20bn-something-something-v2", root / folder
    videos.mkdir(parents=True)
    lists.mkdir(exist_ok=True)
    for name, content in (("labels", LABELS), ("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        (lists / f"{prefix}{name}.json").write_text(json.dumps(content))
    (lists / f"{prefix}test-answers.csv").write_text(ANSWERS)
    for number in (78687, 2, 3, 1420, 1421):
        (videos / f"{number}.webm").write_bytes(b"x")
    return videos


@pytest.mark.parametrize(
    ("folder", "prefix"), [("labels", ""), ("annotations", "something-something-v2-"), (".", "something-something-v2-")]
)
def test_parts_labels_and_files(folder: str, prefix: str, tmp_path: Path) -> None:
    videos = release(tmp_path, folder, prefix)
    found = ssv2(videos)
    assert {part: [entry[:4] for entry in entries] for part, entries in found.parts.items()} == {
        "train": [
            ("78687", videos / "78687.webm", "Holding something next to something", None),
            ("2", videos / "2.webm", "Lifting something, then letting it drop down", None),
        ],
        "validation": [("3", videos / "3.webm", "Holding something next to something", None)],
        "test": [
            ("1420", videos / "1420.webm", "Holding something next to something", None),
            ("1421", videos / "1421.webm", "Lifting something, then letting it drop down", None),
        ],
    }
    assert found.whole
    assert found.notes == [
        f"{prefix}labels.json names 2 templates; the release has 174",
        f"{prefix}train.json names 2 videos; the release has 168913",
        f"{prefix}validation.json names 1 video; the release has 24777",
        f"{prefix}test.json names 2 videos; the release has 27157",
    ]
    assert ssv2(videos, tmp_path / folder).parts == found.parts


def test_what_is_missing_or_wrong_is_said(tmp_path: Path) -> None:
    videos, lists = release(tmp_path), tmp_path / "labels"
    (videos / "2.webm").rename(videos / "22.mp4")
    (videos / "78687.webm").write_bytes(b"")
    (lists / "validation.json").write_text(
        json.dumps([*VALIDATION, VALIDATION[0], TRAIN[1], {"id": 9, "template": "x"}])
    )
    (lists / "test.json").unlink()
    found = ssv2(videos)
    assert (
        f"test.json is missing in {lists}, so there is no test set; training and validation do not need it"
        in found.notes
    )
    assert found.missing == {"train": ["2"], "validation": ["2", "9"]}
    assert found.extra == ["1420.webm", "1421.webm", "22.mp4"]
    assert found.problems == [
        'validation.json: entry 4: 9 has the template "x", and no such one is in labels.json; it gets no label',
        "validation lists 3 2 times; keep one line",
        "train and validation share 1 video, such as 2",
        f"{videos / '78687.webm'}: empty file; download it again",
    ]


def test_a_test_set_without_answers_has_no_labels(tmp_path: Path) -> None:
    videos = release(tmp_path)
    (tmp_path / "labels" / "test-answers.csv").unlink()
    found = ssv2(videos)
    assert [entry.label for entry in found.parts["test"]] == [None, None]
    assert found.whole
    assert any("no labels, because test-answers.csv is missing" in note for note in found.notes)
    (tmp_path / "labels" / "test-answers.csv").write_text(ANSWERS.splitlines()[0])
    assert ssv2(videos).problems == [
        "test.json: entry 2: 1421 has no template, and no such one is in labels.json; it gets no label"
    ]


def test_another_order_of_the_numbers_is_noted(tmp_path: Path) -> None:
    videos = release(tmp_path)
    (tmp_path / "labels" / "labels.json").write_text(json.dumps(dict(zip(LABELS, "10", strict=True))))
    assert any("order of their names, which differs from labels.json" in note for note in ssv2(videos).notes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.json", "{", r"labels.json: line 1, column 2: not JSON"),
        ("labels.json", "[]", r"labels.json: not an object of templates and numbers"),
        ("labels.json", '{"a": "0", "a": "1"}', r"labels.json: .*has the key 'a' twice"),
        ("labels.json", '{"a": "zero"}', r"labels.json: 'a' has the number \"zero\""),
        ("labels.json", '{"a": "0", "b": 0}', r"labels.json: 'b' and 'a' have the number 0"),
        ("labels.json", "[" * 100_000, r"labels.json: cannot be read as JSON"),
        ("train.json", '{"id": 1}', r"train.json: not a list of objects with 'id'"),
        ("train.json", '[{"id": 1}, 2]', r"train.json: entry 2: 2 has no 'id'"),
        ("train.json", '[{"id": "../a"}]', r"train.json: entry 1: the id \"../a\" is not a number"),
        ("test-answers.csv", "1420;a\n1421,b\n", r"test-answers.csv: line 2: '1421,b' is not a number and a template"),
        ("old-labels.json", "{}", r"has labels.json and old-labels.json; keep the lists of one release"),
    ],
)
def test_corrupt_lists_are_refused(name: str, content: str, said: str, tmp_path: Path) -> None:
    videos = release(tmp_path)
    (tmp_path / "labels" / name).write_text(content)
    with pytest.raises(VidsslError, match=said):
        ssv2(videos)


def test_no_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"no \*labels.json in .*; name the folder that has them"):
        ssv2(tmp_path)


def test_the_command_makes_an_index_with_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = release(tmp_path)
    for path in videos.iterdir():
        make_clip(path.with_suffix(".mp4"), frames=6)
        path.unlink()
    assert main(["datasets", "check", "ssv2", str(videos)]) == 0
    assert main(["datasets", "lists", "ssv2", str(videos), "--out", str(tmp_path / "out"), "--index"]) == 0
    capsys.readouterr()
    index = VideoIndex.load(tmp_path / "out" / "ssv2_train.arrow", root=tmp_path / "out", allow_outside=True)
    assert dict(zip(index.column("path").to_pylist(), index.column("label").to_pylist(), strict=True)) == {
        "2.mp4": "Lifting something, then letting it drop down",
        "78687.mp4": "Holding something next to something",
    }


def test_folders_of_frames_are_videos(tmp_path: Path) -> None:
    videos = release(tmp_path)
    for number in (2, 1420):
        (videos / f"{number}.webm").unlink()
        make_frames(videos / str(number), frames=5, name="{:06d}.jpg")
    found = ssv2(videos)
    assert found.missing == {}
    assert [entry.path for entry in found.parts["train"]] == [videos / "78687.webm", videos / "2"]
    (videos / "2" / "000003.jpg").unlink()
    found = ssv2(videos)
    assert found.missing == {"train": ["2"]}
    assert [problem for problem in found.problems if problem.startswith("2: 000003.jpg is missing before 000004.jpg")]
