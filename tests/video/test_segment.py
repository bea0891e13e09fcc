"""slice: what a sequential decode of a slice gives are, bit for bit, frames of a sequential decode of the file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from tests.clips import Planes, make_clip, make_packed_avi, planes_of, same, subsets, truth
from tests.video.test_decode import CLIPS, SHARED, index_one
from vidssl.index.row import make_video
from vidssl.index.scan import scan
from vidssl.video import segment as slicing
from vidssl.video.decode import Video
from vidssl.video.packets import DecodeError
from vidssl.video.segment import Segment, SegmentError, cut_segment

# What NVDEC may take, and what DALI decodes in software; the others of CLIPS are for decode alone.
CUT = [
    name
    for name in CLIPS
    if name.split("_")[0] in ("h264", "hevc", "mpeg4", "mpeg2", "mpeg1", "vp8", "vp9", "mjpeg", "one")
]
# No key frame of theirs but the first clears the frames before: x264's open groups begin with a picture that it calls
# recoverable.
FROM_THE_START = {"h264_open_gop", "h264_intra_refresh", "h264_long_gop"}


def decoded(piece: Segment) -> list[Planes]:
    """Every frame of a slice, by the plainest decode there is."""
    convert = VideoReformatter()
    with av.open(io.BytesIO(piece.data.tobytes())) as container:
        return [planes_of(convert, frame) for frame in cast(Any, container).decode(video=0)]


def wrong_frames(video: Video, seed: int = 0, count: int = 3) -> tuple[int, list[Segment]]:
    """How many frames differ from the truth, of slices of many kinds; and those slices."""
    frames, wrong, pieces = truth(video.path, video.stream), 0, []
    for numbers in subsets(len(frames), seed, count):
        if count == 1 and len(numbers) == len(frames) > 64:
            continue  # of a long video, windows have to do
        piece = cut_segment(video, numbers)
        got = decoded(piece)
        assert len(got) == piece.frames
        assert piece.position.dtype == np.int32
        assert len(piece.position) == len(numbers)
        assert (np.diff(piece.position) > 0).all()
        wrong += sum(not same(got[at], frames[number]) for at, number in zip(piece.position, numbers, strict=True))
        pieces.append(piece)
    return wrong, pieces


@pytest.mark.parametrize("name", CUT)
def test_frames_are_those_of_a_sequential_decode(name: str, tmp_path: Path) -> None:
    file, codec, options = CLIPS[name]
    _, video = index_one(make_clip(tmp_path / file, codec, **options))
    wrong, pieces = wrong_frames(video)
    assert wrong == 0
    assert all(piece.doubt == pieces[0].doubt for piece in pieces) or name == "vp9_webm"
    assert ("fields" in pieces[0].doubt) == (name == "h264_interlaced")


@pytest.mark.parametrize("bframes", [1, 2, 3])
def test_packed_bframes_in_avi(bframes: int, tmp_path: Path) -> None:
    _, video = index_one(make_packed_avi(tmp_path / "a.avi", bframes=bframes))
    assert wrong_frames(video)[0] == 0


def test_a_slice_begins_at_the_key_frame_before_and_ends_with_the_window(tmp_path: Path) -> None:
    options: dict[str, Any] = {"gop": 10, "frames": 60, "options": {"x264-params": "scenecut=0:bframes=0"}}
    _, video = index_one(make_clip(tmp_path / "a.mp4", **options))
    # Seek points are at least 12 frames apart: 0, 20, 40.
    piece = cut_segment(video, np.array([43, 47]))
    assert (piece.frames, piece.position.tolist()) == (8, [3, 7])
    assert len(piece.data) < video.bytes / 3
    assert cut_segment(video, np.array([25, 41])).frames == 22


@pytest.mark.parametrize("name", ["h264_bframes", "h264_open_gop"])
def test_an_h264_slice_begins_at_an_idr_picture(name: str, tmp_path: Path) -> None:
    """From a picture that is only recoverable (open groups) no slice begins: it goes back to one that is not."""
    file, codec, options = CLIPS[name]
    _, video = index_one(make_clip(tmp_path / file, codec, **options))
    assert len(video.points.frame) > 1
    piece = cut_segment(video, np.array([video.frames - 1]))
    assert (piece.frames > 40) == (name in FROM_THE_START)


def test_hevc_leading_pictures_are_left_out(tmp_path: Path) -> None:
    file, codec, options = CLIPS["hevc_open_gop"]
    _, video = index_one(make_clip(tmp_path / file, codec, **options))
    start = int(video.points.frame[1])
    piece = cut_segment(video, np.arange(start, start + 8))
    assert piece.position.tolist() == list(range(8))


@pytest.mark.parametrize("missing", [3, 25, 29])
def test_what_has_no_frame_of_its_own_is_refused(missing: int, tmp_path: Path) -> None:
    """The second field of a picture, a hidden one: a demuxer that counts packets would count it. Here: a frame that the
    index lacks.
    """
    _, video = index_one(make_clip(tmp_path / "a.mp4", gop=1, options={"x264-params": "scenecut=0"}))
    lacking = replace(video, packet=np.delete(video.packet, missing))
    with pytest.raises(SegmentError, match=rf"packet {missing} has no frame of its own"):
        cut_segment(lacking, np.arange(max(missing - 3, 0), missing))
    assert cut_segment(lacking, np.arange(missing + 14, 46)).frames >= 32 - missing


def test_packets_that_cannot_be_written_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file can still be decoded: it is no bad one."""
    _, video = index_one(make_clip(tmp_path / "a.webm", "libvpx", options={"cpu-used": "8", "deadline": "realtime"}))
    monkeypatch.setattr(slicing, "_CONTAINERS", {})  # FFmpeg writes no VP8 into MP4
    with pytest.raises(SegmentError, match="cannot be written as a file of their own"):
        cut_segment(video, np.arange(5))


def test_wrong_numbers_and_files_are_named(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    _, video = index_one(path)
    with pytest.raises(DecodeError, match="numbers="):
        cut_segment(video, np.array([50]))
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DecodeError, match="changed since it was indexed"):
        cut_segment(video, np.array([0]))


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real videos are not there: {SHARED}")
def test_real_videos_have_no_wrong_frame() -> None:
    checked, refused = set(), {}
    for path in sorted(SHARED.rglob("*")):
        row = scan(path) if path.is_file() else {"status": "a folder"}
        if row["status"] != "ok":
            continue
        try:
            wrong, _ = wrong_frames(make_video(path, row), seed=path.stat().st_size, count=1)
        except SegmentError as reason:
            refused[path.name] = str(reason)
            continue
        assert wrong == 0, path
        checked.add(path.name)
    assert len(checked) >= 30, refused


def test_a_picture_that_a_parser_would_pass_over_is_doubted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a picture less than DALI counts packets, it would give memory that it never wrote."""
    options = {"x264-params": "slices=3:scenecut=0"}
    _, video = index_one(make_clip(tmp_path / "a.mp4", frames=30, gop=30, options=options))
    assert cut_segment(video, np.arange(20, 24)).doubt == ""
    needed = slicing._needed

    def damaged(*given: Any) -> Any:
        for frame, packet in needed(*given):
            data = bytes(packet)
            lost = av.Packet(data[4 + int.from_bytes(data[:4], "big") :])  # its first slice
            yield frame, lost if frame == 12 else packet

    monkeypatch.setattr(slicing, "_needed", damaged)
    assert "23 pictures begin in 24 packets" in cut_segment(video, np.arange(20, 24)).doubt
