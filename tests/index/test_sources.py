"""find: folders, shards and lists name the same videos, with their labels."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import Loader, VideoIndex, VidsslError
from vidssl.index.holdout import split
from vidssl.index.sources import find_videos
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec

SPEC = PlanSpec(
    arrangements=orders(3, 4),
    labels=np.arange(6),
    bases=3,
    length=4,
    gap=(2, 2),
    augment=Augment(resize=(40, 50), crop=(32, 32)),
)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("run/a.mp4", "run/b.avi", "walk/c.mkv")):
        (root / name).parent.mkdir(exist_ok=True)
        make_clip(root / name, "mpeg4" if name.endswith("avi") else "libx264", frames=30 + number, gop=12)
    return root


def shard(folder: Path, target: Path) -> None:
    """The folder's videos as WebDataset samples: a label by .cls, one by .json, one by its folder."""
    with tarfile.open(target, "w") as tar:
        add(tar, "s1.cls", b"run\n")
        add(tar, "s1.mp4", (folder / "run/a.mp4").read_bytes())
        add(tar, "s2.avi", (folder / "run/b.avi").read_bytes())
        add(tar, "s2.json", json.dumps({"label": "run"}).encode())
        add(tar, "walk/s3.mkv", (folder / "walk/c.mkv").read_bytes())


def test_members_of_shards_are_loaded_like_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    shard(folder, tmp_path / "shards" / "000.tar")
    plain, packed = VideoIndex.build(folder, progress=False), VideoIndex.build(tmp_path, progress=False)
    assert packed.column("path").to_pylist() == [
        "shards/000.tar/s1.mp4",
        "shards/000.tar/s2.avi",
        "shards/000.tar/walk/s3.mkv",
    ]
    assert packed.column("label").to_pylist() == ["run", "run", "walk"]
    assert packed.column("archive").to_pylist() == ["shards/000.tar"] * 3
    for name in ("frames", "bytes", "packet", "points", "codec"):
        assert packed.column(name).to_pylist() == plain.column(name).to_pylist()
    batches = []
    for index in (plain, packed):
        with Loader(index, SPEC, batch_size=3, device="cpu", seed=1) as loader:
            batches.append(next(iter(loader)))
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_a_shard_that_changed_is_noticed(folder: Path, tmp_path: Path) -> None:
    shard(folder, tmp_path / "000.tar")
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.is_current()
    shard(folder, tmp_path / "000.tar")
    assert not index.is_current()
    with (
        Loader(index, SPEC, batch_size=3, device="cpu", max_corrupt=1) as loader,
        pytest.raises(VidsslError, match="changed since it was indexed"),
    ):
        next(iter(loader))


def test_a_csv_gives_labels_and_groups(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        f"path,label,group\n{folder}/run/a.mp4,jog,g1\n{folder}/walk/c.mkv,,g2\nnone.mp4,jog,g1\n"
    )
    index = VideoIndex.build(tmp_path / "list.csv", progress=False)
    rows = {Path(row["path"]).name: row for row in index.table.to_pylist()}
    assert {name: (row["label"], row["group"]) for name, row in rows.items()} == {
        "a.mp4": ("jog", "g1"),
        "c.mkv": (None, "g2"),
        "none.mp4": ("jog", "g1"),
    }
    assert "No such file" in rows["none.mp4"]["status"]
    assert len(index.usable()) == 2


def test_groups_of_a_list_are_never_split(folder: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "more.mp4", frames=30)
    lines = [f"{folder}/run/a.mp4,x", f"{folder}/run/b.avi,y", f"{folder}/walk/c.mkv,x", "more.mp4,y"]
    (tmp_path / "list.csv").write_text("\n".join(["path,group", *lines]))
    index = VideoIndex.build(tmp_path / "list.csv", progress=False)
    for seed in range(5):
        kept, held = split(index, 0.5, seed=seed)
        assert len(kept) == len(held) == 2
        assert len(set(held.column("group").to_pylist())) == 1


def test_a_txt_names_a_path_a_line(folder: Path, tmp_path: Path) -> None:
    (folder / "some.txt").write_text("run/a.mp4\n\nwalk/c.mkv\n")
    root, found, _ = find_videos(folder / "some.txt")
    (folder / "some.txt").unlink()
    assert root == folder.resolve()
    assert [(one.path, one.label) for one in found] == [("run/a.mp4", "run"), ("walk/c.mkv", "walk")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "file,label\nx.mp4,run\n", r"first line is 'file,label'; write it as one of these"),
        ("a.txt", "\n\n", "no video in it; the list is empty"),
        ("a.doc", "x", "not a folder; name a folder of videos, a list of them"),
    ],
)
def test_wrong_lists_are_named(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(VidsslError, match=said):
        find_videos(tmp_path / name)


def test_a_broken_shard_is_found_for_the_index_to_name(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x" * 5000)
    with tarfile.open(tmp_path / "cut.tar", "w") as tar:
        for name in ("a.mp4", "b.mp4"):
            tar.add(tmp_path / name, name)
            (tmp_path / name).unlink()
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    (tmp_path / "cut.tar").write_bytes((tmp_path / "cut.tar").read_bytes()[:8000])
    assert [one.path for one in find_videos(tmp_path)[1]] == ["bad.tar", "cut.tar", "cut.tar/a.mp4"]
    left_out = dict(VideoIndex.build(tmp_path, progress=False).skipped(1))
    assert "a tar file that cannot be read to its end; the members before the damage are used" in left_out["bad.tar"]
    assert set(left_out) == {"bad.tar", "cut.tar", "cut.tar/a.mp4"}  # here no member is a video
