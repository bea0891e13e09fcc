"""Lists and indexes of a data set's parts are what other commands take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.datasets import plain, write_lists


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for action in ("bend", "jump"):
        for person in ("ann", "bob", "cat"):
            path = root / action / f"{person}_{action}.mp4"
            path.parent.mkdir(exist_ok=True)
            make_clip(path, frames=12)
    return root


def test_lists_elsewhere_name_the_same_videos(videos: Path, tmp_path: Path) -> None:
    found = plain(videos, group="[a-z]+(?=_)", fraction=0.3)
    train, test = write_lists(found, tmp_path / "lists")
    index = VideoIndex.build(test, progress=False)
    assert len(index.usable()) == 2
    assert set(index.column("label").to_pylist()) == {"bend", "jump"}
    assert len(set(index.column("group").to_pylist())) == 1
    assert str(videos) in train.read_text()
    inside = write_lists(found, videos / "lists")
    assert str(videos) in inside[0].read_text()  # not below the list's own folder
    beside = write_lists(found, videos)
    assert "\nbend/" in beside[0].read_text()
    for path in (*inside, *beside):
        path.unlink()


def test_indexes_share_their_decoding(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path), "--group", "[a-z]+(?=_)", "--fraction", "0.3", "--index"]
    assert main(["datasets", "lists", "folder", str(videos), *options]) == 0
    assert "wrote" in capsys.readouterr().out
    train, test = (VideoIndex.load(tmp_path / f"{videos.name}_{part}.arrow") for part in ("train", "test"))
    assert (len(train), len(test)) == (4, 2)
    assert {path.name for path in (train.video(row).path for row in range(4))}.isdisjoint(
        test.video(row).path.name for row in range(2)
    )
    assert set(test.column("label").to_pylist()) == {"bend", "jump"}
    assert main(["datasets", "lists", "folder", str(videos), *options]) == 0  # again: nothing is read


def test_wrong_use_is_named(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        (["hmdb51", str(videos), "--fraction", "0.5"], "hmdb51 has its own groups and splits"),
        (["csv", str(videos)], "not a list (.csv, .txt, .tsv)"),
        (["folder", str(videos), "--annotations", "x"], "kind=folder has no annotations"),
    ):
        assert main(["datasets", "lists", *options, "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("index", [False, True])
def test_a_part_or_a_name_that_leads_out_is_refused_before_anything_is_written(
    index: bool, videos: Path, tmp_path: Path
) -> None:
    found = plain(videos)
    entries = found.parts["all"]
    for wrong in (
        replace(found, parts={"train": entries, "x/../../escaped": entries}),
        replace(found, name="../escaped"),
    ):
        with pytest.raises(VidsslError, match=r"path='.*escaped.*': it leads out of .*lists"):
            write_lists(wrong, tmp_path / "lists", index=index, progress=False)
    assert not list(tmp_path.iterdir())
