"""The features of a data set as a file: what is in it, and how an interrupted call goes on."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import vidssl
from tests.clips import make_clip
from tests.conftest import make_videos
from vidssl.cli import main
from vidssl.index.journal import journal_of
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.trained import table as module
from vidssl.trained import write_features
from vidssl.trained.encoder import TrainedEncoder
from vidssl.types import VidsslError


def read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def test_arrow_and_npy(run: Path, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["features", str(run), "--data", str(index.root), "--clips", "3", "--device", "cpu"]
    assert main([*shared, "--out", str(tmp_path / "all.arrow")]) == 0
    assert "features of 10 videos" in capsys.readouterr().out
    assert main([*shared, "--out", str(tmp_path / "all.npy")]) == 0
    found = vidssl.load(run).extract(index, clips=3, device="cpu", progress=False)
    made = read(tmp_path / "all.arrow")
    assert made.column_names == ["path", "label", "group", "feature"]
    assert made["path"].to_pylist() == index.select(found.row).column("path").to_pylist()
    assert made["label"].to_pylist() == found.label
    stacked = np.stack([one.values.to_numpy() for one in made["feature"]])
    assert np.array_equal(stacked, found.feature.numpy())
    assert json.loads(made.schema.metadata[b"vidssl"])["clips"] == 3
    assert np.array_equal(np.load(tmp_path / "all.npy"), stacked)
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == made["path"].to_pylist()
    assert [row["label"] for row in rows] == found.label
    assert sorted(os.listdir(tmp_path)) == ["all.arrow", "all.csv", "all.npy"]


def test_an_interrupted_call_goes_on(
    run: Path, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, out = vidssl.load(run), tmp_path / "all.arrow"
    write_features(trained, index, tmp_path / "whole.arrow", clips=2, device="cpu", progress=False)
    monkeypatch.setattr(module, "_BLOCK", 4)
    extract, seen = TrainedEncoder.extract, list[int]()

    def stopped(self: TrainedEncoder, part: VideoIndex, **how: object) -> object:
        seen.append(len(part))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return extract(self, part, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainedEncoder, "extract", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_features(trained, index, out, clips=2, device="cpu", progress=False)
    assert journal_of(out).exists()
    assert not out.exists()
    assert write_features(trained, index, out, clips=2, device="cpu", progress=False) == 8
    assert seen == [4, 4, 2, 2]
    assert read(out).equals(read(tmp_path / "whole.arrow"))
    assert not journal_of(out).exists()


def test_other_settings_and_changed_files_are_computed_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_videos(tmp_path / "videos")
    trained, out = vidssl.load(run), tmp_path / "all.arrow"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda *_: (_ for _ in ()).throw(VidsslError("full")))
        with pytest.raises(VidsslError, match="full"):
            write_features(trained, index, out, clips=2, device="cpu", progress=False)
    again = write_features(trained, index, tmp_path / "b.arrow", clips=3, device="cpu", progress=False)
    assert again == 0
    journal_of(out).rename(journal_of(tmp_path / "c.arrow"))
    assert write_features(trained, index, tmp_path / "c.arrow", clips=4, device="cpu", progress=False) == 0
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", lambda *_: (_ for _ in ()).throw(VidsslError("full")))
        with pytest.raises(VidsslError, match="full"):
            write_features(trained, index, out, clips=2, device="cpu", progress=False)
    os.utime(index.video(0).path)
    newer = VideoIndex.build(index.root, progress=False)
    assert write_features(trained, newer, out, clips=2, device="cpu", progress=False) == 9


def test_bad_output(run: Path, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "video.arrow").write_text("mine")
    (tmp_path / "labels.csv").write_text("mine")
    for name, problem in (
        ("a.txt", "name a file that ends in .arrow or .npy"),
        ("video.arrow", "this file exists and was not written by this command"),
        ("labels.npy", "this file exists and was not written by this command"),
    ):
        assert main(["features", str(run), "--data", str(index.root), "--out", str(tmp_path / name)]) == 2
        assert problem in capsys.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_short_videos_are_named_and_a_checkpoint_stays_as_it_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    for name, frames in (("long", 12), ("short", 5)):
        make_clip(tmp_path / "videos" / f"{name}.avi", "mpeg4", frames=frames)
    path = checkpoint.find(run)
    before = sorted(os.listdir(path))
    out = tmp_path / "all.arrow"
    assert main(["features", str(path), "--data", str(tmp_path / "videos"), "--out", str(out), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "skipped: short.avi: 5 frames, but 8 are needed" in said
    assert "features of 1 videos" in said
    assert read(out)["path"].to_pylist() == ["long.avi"]
    assert sorted(os.listdir(path)) == before
