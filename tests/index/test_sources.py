"""find: folders, shards and lists name the same videos, with their labels."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.clips import make_clip
from tests.kernels.workload import orders
from vidssl import Loader, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.cli.data import open_data
from vidssl.datasets import plain
from vidssl.index.holdout import split
from vidssl.index.sources import _resolve_names, find_videos
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.video.decode import decode

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


def test_what_is_skipped_in_a_folder_is_counted_by_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_clip(tmp_path / "a.mp4", frames=10)
    for number in range(5):
        (tmp_path / f"{number}.xyz").touch()
    for name in ("README", "cover.png", "b.PNG", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / ".cache").mkdir()
    found = find_videos(tmp_path)
    assert sorted(found.notes) == [
        "1 ignored (hidden folder): .cache",
        "1 ignored (no ending): README",
        "2 ignored (.png): b.PNG, cover.png",
        "5 ignored (.xyz): 0.xyz, 1.xyz, 2.xyz, ...",
    ]
    assert main(["index", str(tmp_path), "--out", str(tmp_path / ".cache" / "i.arrow")]) == 0
    assert "note: 1 ignored (hidden folder): .cache" in capsys.readouterr().out
    with caplog.at_level("INFO"):
        open_data(tmp_path, None)
    assert "1 ignored (hidden folder): .cache" in caplog.text
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(VidsslError, match=r"no video in it; video files end in .*; 1 ignored \(hidden folder"):
        find_videos(tmp_path)


def test_kinds_of_skipped_files_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for number in range(30):
        (tmp_path / f"a.{number:03d}").touch()
    notes = find_videos(tmp_path).notes
    assert len(notes) == 21
    assert notes[-1] == "10 ignored, of 10 more kinds"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_videos(tmp_path).notes == ["1 ignored (a folder that cannot be read: Permission denied): closed"]


@pytest.mark.parametrize("name", ["a.3g2", "a.F4V", "a.qt", "a.mpe", "a.m2t"])
def test_more_names_are_videos(name: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=10).rename(tmp_path / name)
    assert len(VideoIndex.build(tmp_path, progress=False).usable()) == 1


def test_a_gif_is_a_video_if_it_moves(tmp_path: Path) -> None:
    frames = [Image.effect_noise((64, 48), 50 + number).convert("P") for number in range(12)]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:], duration=40)
    frames[0].save(tmp_path / "still.gif")
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.skipped() == [("still.gif", "a still picture, not a video")]
    assert index.frames(0) == 12


def test_names_that_are_not_utf8_cost_only_their_own_files(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    data = make_clip(root / "good.mp4", frames=10).read_bytes()
    (root / "caf\udce9.mp4").write_bytes(data)
    (root / "caf\\udce9.mp4").write_bytes(data)  # what the escaped name looks like
    (root / "d\udcff").mkdir()
    (root / "d\udcff" / "x.mp4").write_bytes(data)
    (root / "d\udcff" / "y.txt").touch()
    with tarfile.open(root / "t\udcff.tar", "w") as tar:
        add(tar, "s.mp4", data)
    why = "its name, or that of a folder it is in, is not UTF-8; rename it"
    assert main(["index", str(root), "--out", str(tmp_path / "i.arrow")]) == 0
    index = VideoIndex.load(tmp_path / "i.arrow")
    assert dict(index.skipped()) == {
        "caf\\udce9.mp4 (2)": why,
        "d\\udcff/x.mp4": why,
        "t\\udcff.tar": why,
    }
    assert len(index.usable()) == 2
    assert VideoIndex.build(root, known=index, progress=False).table.equals(index.table)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    assert f"problem: d\\udcff/x.mp4: {why}" in plain(root).text()
    assert [entry.name for entry in plain(root).parts["all"]] == ["caf\\udce9.mp4", "good.mp4"]
    (tmp_path / "r\udce9").mkdir()  # a root whose own name is not UTF-8 is no matter
    (tmp_path / "r\udce9" / "a.mp4").write_bytes(data)
    assert main(["index", str(tmp_path / "r\udce9"), "--out", str(tmp_path / "r.arrow")]) == 0
    assert len(VideoIndex.load(tmp_path / "r.arrow").usable()) == 1


def test_names_with_line_breaks_and_tabs_are_names(tmp_path: Path) -> None:
    names = ["x\ty\n/a\rb\tc\n.mp4", "x\ty\n/d.mp4"]
    (tmp_path / "x\ty\n").mkdir()
    for name in names:
        make_clip(tmp_path / name, frames=10)
    index = VideoIndex.build(tmp_path, progress=False)
    assert index.column("path").to_pylist() == names
    assert index.classes == ("x\ty",)
    assert [decode(index.video(row), np.arange(10)).data.shape[0] for row in index.usable().tolist()] == [10, 10]


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


def test_a_missing_file_that_widens_the_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.mp4").touch()
    (tmp_path / "lists").mkdir()
    source = tmp_path / "lists" / "l.csv"
    source.write_text(f"path\n{tmp_path}/a/b/1.mp4\n")
    assert find_videos(source).notes == []
    source.write_text(f"path\n{tmp_path}/a/b/1.mp4\n{tmp_path}/c/2.mp4\n")
    found = find_videos(source)
    assert found.root == tmp_path
    (note,) = found.notes
    assert f"line 3: {tmp_path}/c/2.mp4 is not there, and widens the root from {tmp_path}/a/b to {tmp_path}," in note


def test_names_of_a_list_are_joined_as_pathlib_does(tmp_path: Path) -> None:
    """Plain names, nearly all, are joined as texts."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    plain_names = ["a.mp4", "x/y/a b.mp4", "..a/b..", ".hidden/...", "a\\b"]
    others = ["./a.mp4", "x//a.mp4", "x/./a.mp4", "x/a.mp4/", "."]
    assert _resolve_names([*plain_names, *others], tmp_path) == [str(tmp_path / name) for name in plain_names + others]
    assert _resolve_names(["link/../a.mp4", "/b/c.mp4"], tmp_path) == [str(tmp_path / "a.mp4"), "/b/c.mp4"]
    assert _resolve_names(["link/a.mp4"], tmp_path) == [str(tmp_path / "link" / "a.mp4")]
    assert _resolve_names(["a.mp4"], Path("/")) == ["/a.mp4"]
