"""Videos are prepared into a bucket, and trained on there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_videos
from tests.remote.conftest import _of_its_own as _of_its_own
from tests.remote.conftest import s3 as s3
from tests.remote.conftest import use_endpoint
from tests.remote.servers import Faults
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.remote import RemotePath, fetch
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.video.decode import decode


def test_a_bucket_gets_the_videos_their_list_and_an_index(
    recipe: Recipe, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_videos(tmp_path / "videos")
    (tmp_path / "videos/split.txt").write_text("a/0_g0.avi 1\n")
    command = ["prepare", str(tmp_path / "videos"), "s3://bucket/new", "--short-side", "32"]
    assert main(["prepare", str(tmp_path / "videos"), str(tmp_path / "local"), "--short-side", "32"]) == 0
    local, before = VideoIndex.load(tmp_path / "local/index.arrow"), fetch.retries()
    faults = Faults(s3, drop=0.1, seconds=0.02)
    with faults.serving() as bad:
        use_endpoint(monkeypatch, bad)
        capsys.readouterr()
        assert main(command) == 0
        assert "13 files uploaded to s3://bucket/new" in capsys.readouterr().out  # 10 videos, 2 lists, the index
        assert main(command) == 0  # which writes the lists and the index anew
        assert "3 files uploaded to s3://bucket/new" in capsys.readouterr().out
    assert 0 < fetch.retries() - before <= faults.dropped
    use_endpoint(monkeypatch, s3)
    (made,) = (tmp_path / "cache/.prepared").iterdir()
    assert sorted(fetch.find("s3://bucket/new"))[-1] == "s3://bucket/new/videos.csv"
    for path in local.column("path").to_pylist():
        assert RemotePath(f"s3://bucket/new/{path}").open("rb").read() == (made / path).read_bytes()
    there = VideoIndex.load("s3://bucket/new/index.arrow")
    assert str(there.root) == "s3://bucket/new"
    assert there.is_current()
    assert there.column("label").equals(local.column("label"))
    assert np.array_equal(decode(there.video(0), np.array([5])).data, decode(local.video(0), np.array([5])).data)
    assert train(replace(recipe, train=replace(recipe.train, steps=2)), there, tmp_path / "run", quiet=True).step == 2
    assert VideoIndex.build("s3://bucket/new/videos.csv", known=there, progress=False).read == 0


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("https://host/new", "a web server takes no files; name a bucket (s3://BUCKET/FOLDER) or a folder"),
        ("s3://missing/new", "not found (NoSuchBucket); check the URL"),
    ],
)
def test_a_place_that_takes_no_files_is_refused_before_the_work(
    out: str, said: str, s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_videos(tmp_path / "videos")
    assert main(["prepare", str(tmp_path / "videos"), out]) == 2
    assert f"error: prepare: out={out!r}: {said}" in capsys.readouterr().err
