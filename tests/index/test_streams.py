"""Of several video streams, an index takes the one that players take, names the others, and every opening agrees."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.clips import make_clip, make_streams, same, split, truth
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import decode
from vidssl.video.segment import cut_segment

CASES = Path(__file__).parents[3] / "shared" / "data" / "cases"


def is_exact(index: VideoIndex, path: Path, stream: int) -> bool:
    """All frames, and windows after a seek, are those of a sequential decode of the stream."""
    expected, video = truth(path, stream), index.video(0)
    assert video.frames == len(expected)
    windows = [np.arange(video.frames), np.array([0]), np.arange(video.frames - 3, video.frames)]
    return all(
        same(split(data, video.size), expected[number])
        for numbers in windows
        for data, number in zip(decode(video, numbers).data, numbers, strict=True)
    )


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "parts"
    folder.mkdir()
    return [
        make_clip(folder / "small.mp4", frames=30, gop=12),
        make_clip(folder / "large.mp4", frames=40, gop=12, size=(96, 128)),
        make_clip(folder / "still.avi", "mjpeg", frames=1, size=(32, 32), form="yuvj420p"),
    ]


def built(folder: Path, stream: int | None = None) -> VideoIndex:
    return VideoIndex.build(folder, stream=stream, progress=False)


def test_the_default_stream_is_taken_and_the_others_are_named(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = make_streams(tmp_path / "videos" / "a.mp4", clips[1], clips[0], default=1)
    index = built(tmp_path / "videos")
    row = index.table.to_pylist()[0]
    assert (row["status"], row["stream"], row["number"], row["width"]) == ("ok", 1, None, 64)
    assert row["note"] == "of its video streams, 1 (h264 64x48) is used, not 0 (h264 128x96)"
    assert is_exact(index, path, 1)
    index.save(tmp_path / "index.arrow")
    assert is_exact(VideoIndex.load(tmp_path / "index.arrow"), path, 1)


def test_without_a_default_the_stream_with_more_frames_is_taken(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = make_streams(tmp_path / "videos" / "a.mkv", clips[2], clips[1])
    index = built(tmp_path / "videos")
    assert index.table["stream"].to_pylist() == [1]
    assert is_exact(index, path, 1)


def test_an_attached_picture_is_never_taken(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = make_streams(tmp_path / "videos" / "a.mp4", clips[2], clips[0], attached=0)
    index = built(tmp_path / "videos")
    row = index.table.to_pylist()[0]
    with av.open(str(path)) as container:
        kinds = {one.index: one.disposition for one in container.streams.video}
    assert sorted(kinds.values()) == [Disposition.default, Disposition.attached_pic]
    assert (row["codec"], row["note"], kinds[row["stream"]]) == ("h264", "", Disposition.default)
    assert is_exact(index, path, row["stream"])
    assert built(tmp_path / "videos", stream=1).skipped() == [("a.mp4", "stream=1: its video streams are 0 to 0")]


def test_a_stream_is_chosen_by_number(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = make_streams(tmp_path / "videos" / "a.mp4", clips[1], clips[0], default=1)
    index = built(tmp_path / "videos", stream=0)
    assert index.table["number"].to_pylist() == index.table["stream"].to_pylist() == [0]
    assert is_exact(index, path, 0)
    assert built(tmp_path / "videos", stream=2).skipped() == [("a.mp4", "stream=2: its video streams are 0 to 1")]
    with pytest.raises(VidsslError, match="stream=-1: count from 0"):
        built(tmp_path / "videos", stream=-1)


def test_an_index_of_another_stream_is_not_taken_over(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    make_streams(tmp_path / "videos" / "a.mp4", clips[1], clips[0], default=1)
    first = built(tmp_path / "videos", stream=0)
    assert VideoIndex.build(tmp_path / "videos", known=first, stream=0, progress=False).read == 0
    again = VideoIndex.build(tmp_path / "videos", known=first, progress=False)
    assert (again.read, again.table["stream"].to_pylist()) == (1, [1])


def test_segments_are_cut_from_the_stream(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    path = make_streams(tmp_path / "videos" / "a.mp4", clips[1], clips[0], default=1)
    piece, expected = cut_segment(built(tmp_path / "videos").video(0), np.arange(14, 20)), truth(path, 1)
    (tmp_path / "piece.mp4").write_bytes(piece.data.tobytes())
    frames = truth(tmp_path / "piece.mp4", 0)
    assert all(same(frames[at], expected[14 + n]) for n, at in enumerate(piece.position))


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the files are not there: {CASES}")
@pytest.mark.parametrize(
    ("name", "stream", "size"), [("still_first.mkv", 1, (96, 128)), ("two_default_second.mp4", 1, (240, 320))]
)
def test_files_of_two_streams(name: str, stream: int, size: tuple[int, int], tmp_path: Path) -> None:
    path = Path(shutil.copy(CASES / name, tmp_path))
    index = built(tmp_path)
    assert (index.video(0).stream, index.video(0).size) == (stream, size)
    assert "not 0 (" in index.table["note"][0].as_py()
    assert is_exact(index, path, stream)
