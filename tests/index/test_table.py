"""index: every file ends as a usable row or as a reason, and what is written can be read back."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from av.audio.frame import AudioFrame

from tests.clips import make_clip, same, split, subsets, truth
from vidssl.index.schema import SCHEMA
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import decode

SHARED = Path(__file__).parents[3] / "shared" / "data" / "clips"


def write(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def build(root: Path, **options: Any) -> VideoIndex:
    return VideoIndex.build(root, workers=2, progress=False, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in ("walk", "jump"):
        (root / name).mkdir()
    make_clip(root / "walk" / "a.mp4", frames=30, gop=12)
    make_clip(root / "walk" / "b.avi", "mpeg4", frames=20)
    make_clip(root / "jump" / "c.mkv", frames=25, times=[40 * i + (i > 9) * 500 for i in range(25)])
    whole = make_clip(root / "jump" / "whole.mp4", frames=40).read_bytes()
    (root / "jump" / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    (root / "jump" / "whole.mp4").unlink()
    (root / "empty.mp4").touch()
    (root / "text.avi").write_text("this is not a video\n" * 50)
    (root / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (root / "._fork.mp4").write_bytes(b"\0\5\x16\7" + bytes(200))
    (root / "notes.txt").write_text("no video by its name")
    with av.open(str(root / "audio.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return root


def test_every_file_is_a_row_with_a_reason(folder: Path) -> None:
    index = build(folder)
    status = dict(zip(index.table["path"].to_pylist(), index.table["status"].to_pylist(), strict=True))
    assert list(status) == sorted(status)
    assert [path for path, reason in status.items() if reason == "ok"] == ["jump/c.mkv", "walk/a.mp4", "walk/b.avi"]
    for path, reason in {
        "._fork.mp4": "resource fork",
        "audio.mp4": "no video stream",
        "empty.mp4": "empty file",
        "jump/cut.mp4": "truncated",
        "pointer.mp4": "Git LFS pointer",
        "text.avi": "FFmpeg cannot open it",
    }.items():
        assert reason in status[path], (path, status[path])
    assert len(status) == 9


def test_columns_say_what_the_files_are(folder: Path) -> None:
    index = build(folder)
    assert index.table.schema.equals(SCHEMA)
    rows = {row["path"]: row for row in index.table.to_pylist()}
    a, b, c = rows["walk/a.mp4"], rows["walk/b.avi"], rows["jump/c.mkv"]
    assert (a["frames"], b["frames"], c["frames"]) == (30, 20, 25)
    assert (a["codec"], b["codec"], a["width"], a["height"], a["pixel_format"]) == ("h264", "mpeg4", 64, 48, "yuv420p")
    assert a["regular"]
    assert b["regular"]
    assert not c["regular"]
    assert a["frame_rate"] == pytest.approx(25.0)
    assert [point["frame"] for point in a["points"]] == [0, 12, 24]
    assert sorted(a["packet"]) == list(range(30))
    assert b["packet"] is None  # as each frame's own
    assert index.video(int(index.usable()[-1])).packet.tolist() == list(range(20))
    assert a["bytes"] == (folder / "walk/a.mp4").stat().st_size


def test_usable_and_skipped_share_the_rows(folder: Path) -> None:
    index = build(folder)
    names = index.table["path"].to_pylist()
    assert [names[row] for row in index.usable(25)] == ["jump/c.mkv", "walk/a.mp4"]
    skipped = dict(index.skipped(25))
    assert len(skipped) + len(index.usable(25)) == len(index)
    assert skipped["walk/b.avi"] == "20 frames, but 25 are needed"
    assert index.classes == ("jump", "walk")
    assert index.labels.tolist() == [-1 if "/" not in n else int(n[0] == "w") for n in names]
    assert "2 of 9 videos usable, 55 frames" in index.summary(25)
    assert "walk/b.avi: 20 frames" in index.summary(25)
    with pytest.raises(VidsslError, match=r"empty\.mp4 cannot be used: empty file"):
        index.video(names.index("empty.mp4"))
    with pytest.raises(VidsslError, match=r"row=9: the index has rows 0\.\.8"):
        index.video(9)


def test_save_and_load_give_the_same_frames(folder: Path, tmp_path: Path) -> None:
    index = build(folder)
    index.save(tmp_path / "sub" / "index.arrow")
    again = VideoIndex.load(tmp_path / "sub" / "index.arrow")
    assert again.table.equals(index.table)
    assert again.root == index.root
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["index.arrow"]
    row = int(index.usable(30)[0])
    numbers = np.array([3, 17, 29])
    assert np.array_equal(decode(again.video(row), numbers).data, decode(index.video(row), numbers).data)


def test_load_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="no such file; make it with"):
        VideoIndex.load(tmp_path / "none.arrow")
    (tmp_path / "text.arrow").write_text("no")
    with pytest.raises(VidsslError, match=r"not an Arrow file, or its end is missing; name a file that vidssl wrote$"):
        VideoIndex.load(tmp_path / "text.arrow")
    index = build(folder)
    write(index.table, tmp_path / "other.arrow")
    with pytest.raises(VidsslError, match="not an index of vidssl"):
        VideoIndex.load(tmp_path / "other.arrow")
    for version in (b"1e999", b"[" * 40_000, b"null"):
        about = b'{"version": ' + version + b', "root": "/videos"}'
        write(index.table.replace_schema_metadata({b"vidssl.index": about}), tmp_path / "forged.arrow")
        with pytest.raises(VidsslError, match="not an index of vidssl"):
            VideoIndex.load(tmp_path / "forged.arrow")
    again = r"delete it and build it again with `vidssl index /videos --out .*other\.arrow`"
    for number, fix in ((3, again), (6, f"use the newer vidssl that wrote it, or {again}")):
        about = json.dumps({"version": number, "root": "/videos"}).encode()
        write(index.table.replace_schema_metadata({b"vidssl.index": about}), tmp_path / "other.arrow")
        said = rf"other\.arrow': version {number}, but this vidssl reads versions 4 and 5; {fix}"
        with pytest.raises(VidsslError, match=said):
            VideoIndex.load(tmp_path / "other.arrow")


def test_only_an_index_is_told_to_be_deleted(folder: Path, tmp_path: Path) -> None:
    """A list or a folder is the user's own; of an index, the schema tells even when its end is missing."""
    for own in ("mine.csv", "mine.TXT"):
        (tmp_path / own).write_text("path,label\na.mp4,run\n")
        with pytest.raises(VidsslError, match=r"a list of videos, not an index; VideoIndex\.build\('.*mine.* indexes"):
            VideoIndex.load(tmp_path / own)
    with pytest.raises(VidsslError, match=r"a folder, not an index; VideoIndex\.build\("):
        VideoIndex.load(tmp_path)
    build(folder).save(tmp_path / "index.arrow")
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "index.arrow").read_bytes()[:-100])
    with pytest.raises(VidsslError, match=r"delete it and build it again with `vidssl index FOLDER --out .*cut\.arrow"):
        VideoIndex.load(tmp_path / "cut.arrow")


def test_save_replaces_nothing_but_an_index(folder: Path, tmp_path: Path) -> None:
    index = build(folder)
    for name, content in {"mine.csv": b"path\na.mp4\n", "other.arrow": b"ARROW1\0\0" + bytes(99) + b"ARROW1"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VidsslError, match="this file exists and is no index of vidssl; name another file"):
            index.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    (tmp_path / "empty.arrow").touch()
    index.save(tmp_path / "empty.arrow")
    (tmp_path / "empty.arrow").write_bytes((tmp_path / "empty.arrow").read_bytes()[:-100])
    index.save(tmp_path / "empty.arrow")  # a damaged index is replaced
    (tmp_path / "empty.arrow").write_bytes((tmp_path / "empty.arrow").read_bytes()[:100])
    index.save(tmp_path / "empty.arrow")  # also one of which too little is left to know it
    assert len(VideoIndex.load(tmp_path / "empty.arrow")) == len(index)


def test_a_moved_folder_is_found_by_root(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    make_clip(tmp_path / "before" / "a.mp4", frames=5)
    build(tmp_path / "before").save(tmp_path / "index.arrow")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(VidsslError, match="pass the folder of its videos as root="):
        VideoIndex.load(tmp_path / "index.arrow")
    index = VideoIndex.load(tmp_path / "index.arrow", root=tmp_path / "after")
    assert decode(index.video(0), np.arange(5)).data.shape == (5, 72, 64)


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "no such folder"), ("file", "not a folder"), ("empty", "no video in it")]
)
def test_build_names_what_is_wrong(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(VidsslError, match=f"root=.*{name}.*{reason}"):
        build(tmp_path / name)
    with pytest.raises(VidsslError, match="workers=0"):
        VideoIndex.build(tmp_path, workers=0)


@pytest.mark.parametrize("kind", ["cut", "noise"])
@pytest.mark.parametrize(("codec", "form"), [("mjpeg", "yuvj420p"), ("libx264", "yuv420p"), ("mpeg4", "yuv420p")])
def test_a_damaged_file_gives_the_frames_before_the_damage(codec: str, form: str, kind: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.avi", codec, frames=40, form=form, gop=16, bframes=None if codec == "mjpeg" else 2)
    data = bytearray(path.read_bytes())
    if kind == "cut":
        del data[len(data) * 3 // 4 :]
    else:
        middle = len(data) * 3 // 4
        data[middle : middle + 300] = np.random.default_rng(3).bytes(300)
    path.write_bytes(data)
    index = build(tmp_path)
    row = index.table.to_pylist()[0]
    assert row["status"] == "ok"
    assert 5 < row["frames"] <= 40
    video, frames = index.video(0), truth(path)
    for numbers in subsets(row["frames"], 0, 3):
        got = decode(video, numbers)
        assert all(same(split(data, got.size), frames[n]) for data, n in zip(got.data, numbers, strict=True))


def test_frames_after_a_change_of_size_are_left_out(tmp_path: Path) -> None:
    """Two MPEG-2 streams of other sizes, one after the other: what a broadcast recording is like."""
    small = make_clip(tmp_path / "small.m2v", "mpeg2video", frames=20, gop=5).read_bytes()
    large = make_clip(tmp_path / "large.m2v", "mpeg2video", frames=15, gop=5, size=(64, 96)).read_bytes()
    (tmp_path / "small.m2v").write_bytes(small + large)
    (tmp_path / "large.m2v").unlink()
    heights = [planes[0].shape[0] for planes in truth(tmp_path / "small.m2v")]
    count = heights.index(64)
    row = build(tmp_path).table.to_pylist()[0]
    assert (row["status"], row["frames"]) == ("ok", count)
    assert row["note"] == f"only the first {count} frames are used: frame {count} is 96x64 yuv420p"


@pytest.mark.parametrize(("tag", "reason"), [(10, "bt2020c"), (14, "ictcp")])
def test_a_matrix_that_is_not_linear_is_refused_by_name(tag: int, reason: str, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=3, tags={"colorspace": tag})
    assert f"unsupported colour matrix {reason}" in build(tmp_path).table["status"][0].as_py()


@pytest.mark.skipif(not (SHARED / "odd").is_dir(), reason=f"real videos are not there: {SHARED}")
def test_odd_real_files_end_in_a_row_or_a_reason() -> None:
    index = build(SHARED / "odd")
    skipped = dict(index.skipped())
    for name, reason in {
        "._a2_s7_t3_color.avi": "resource fork",
        "audio_only.mp4": "no video stream",
        "lfs_pointer.mp4": "Git LFS pointer",
        "truncated60_arm_wrestling.mp4": "truncated",
        "zero_bytes.webm": "empty file",
    }.items():
        assert reason in skipped.pop(name)
    assert skipped == {}
    turned = {row["path"]: row["rotation"] for row in index.table.to_pylist() if row["path"].startswith("rotate")}
    assert turned == {"rotate_0_3frames.mov": 0, "rotate_180_3frames.mov": 180, "rotate_270_3frames.mov": 270}
