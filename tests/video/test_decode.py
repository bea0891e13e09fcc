"""decode: 0 wrong frames, whatever the container says. Truth: a plain sequential PyAV decode, compared bit for bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip, make_packed_avi, same, split, subsets, truth, upright
from vidssl.index.row import make_video
from vidssl.index.scan import scan
from vidssl.index.table import VideoIndex
from vidssl.video.decode import Video, decode
from vidssl.video.packets import DecodeError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "clips"
B = {"bframes": 2}
X264 = "keyint=17:min-keyint=17:scenecut=0:bframes=3:b-pyramid=normal"
CLIPS: dict[str, Any] = {
    "h264_bframes": ("a.mp4", "libx264", {"options": {"x264-params": X264}}),
    "h264_open_gop": ("a.mp4", "libx264", {"options": {"x264-params": X264 + ":open-gop=1"}}),
    "h264_intra_refresh": ("a.mkv", "libx264", {"options": {"x264-params": "keyint=15:intra-refresh=1"}}),
    "h264_interlaced": ("a.mp4", "libx264", {"options": {"x264-params": X264 + ":interlaced=1"}}),
    "h264_avi": ("a.avi", "libx264", {"options": {"x264-params": X264}}),
    "h264_long_gop": ("a.mp4", "libx264", {"gop": 1000}),
    "h264_intra": ("a.mp4", "libx264", {"gop": 1}),
    "h264_odd_size": ("a.mp4", "libx264", {"size": (47, 61), "form": "yuv444p"}),
    "h264_422": ("a.mp4", "libx264", {"form": "yuv422p"}),
    "h264_10bit": ("a.mp4", "libx264", {"form": "yuv420p10le"}),
    "h264_gray": ("a.mp4", "libx264", {"form": "gray"}),
    "h264_full_range": ("a.mp4", "libx264", {"form": "yuvj420p", "tags": {"color_range": 2}}),
    "h264_vfr_mp4": ("a.mp4", "libx264", {"times": [i * 40 + (i % 7) * 5 for i in range(50)]}),
    "h264_vfr_mkv": ("a.mkv", "libx264", {"times": [i * 40 + (i % 5) * 9 for i in range(50)]}),
    "h264_late_start": ("a.mp4", "libx264", {"times": [1700 + 40 * i for i in range(50)]}),
    "h264_ts": ("a.ts", "libx264", {"options": {"x264-params": X264}}),
    "hevc_open_gop": (
        "a.mp4",
        "libx265",
        {"options": {"x265-params": "log-level=none:keyint=15:open-gop=1:pools=none:frame-threads=1"}},
    ),
    "mpeg4_avi": ("a.avi", "mpeg4", B),
    "mpeg2_mpg": ("a.mpg", "mpeg2video", B | {"gop": 12}),
    "mpeg1_mpg": ("a.mpg", "mpeg1video", B | {"gop": 12}),
    "vp8_webm": ("a.webm", "libvpx", {"options": {"cpu-used": "8", "deadline": "realtime"}}),
    "vp9_webm": ("a.webm", "libvpx-vp9", {"options": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}}),
    "mjpeg_avi": ("a.avi", "mjpeg", {"form": "yuvj420p"}),
    "ffv1_rgb": ("a.mkv", "ffv1", {"form": "bgr0"}),
    "one_frame": ("a.mp4", "libx264", {"frames": 1}),
}


def index_one(path: Path) -> tuple[VideoIndex, Video]:
    index = VideoIndex.build(path.parent, workers=1, progress=False)
    return index, index.video(0)


def wrong_frames(video: Video, seed: int = 0, count: int = 3) -> int:
    """How many of the frames asked for in many ways differ from the truth."""
    frames = truth(video.path, video.stream)
    assert len(frames) == video.frames
    expected = [upright(planes, video.rotation, video.mirror) for planes in frames]
    wrong = 0
    for numbers in subsets(len(frames), seed, count):
        got = decode(video, numbers)
        assert got.number.tolist() == numbers.tolist()
        wrong += sum(
            not same(split(data, got.size), expected[number]) for data, number in zip(got.data, numbers, strict=True)
        )
    return wrong


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_a_sequential_decode(name: str, tmp_path: Path) -> None:
    file, codec, options = CLIPS[name]
    _, video = index_one(make_clip(tmp_path / file, codec, **options))
    assert wrong_frames(video) == 0


@pytest.mark.parametrize("bframes", [1, 2, 3])
def test_packed_bframes_in_avi(bframes: int, tmp_path: Path) -> None:
    _, video = index_one(make_packed_avi(tmp_path / "a.avi", bframes=bframes))
    assert video.frames >= 47
    assert wrong_frames(video) == 0
    for number in range(video.frames):  # every frame alone: all others that can be are left out
        assert same(split(decode(video, np.array([number])).data[0], video.size), truth(video.path)[number])


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_stand_upright(rotation: int, hflip: bool, tmp_path: Path) -> None:
    """The encoded picture is turned by hand the way FFmpeg's display matrix is defined: counter-clockwise, then
    mirrored.
    """
    path = make_clip(tmp_path / "a.mp4", frames=3, rotation=rotation, hflip=hflip)
    _, video = index_one(path)
    got = decode(video, np.array([1]))
    expected = [np.rot90(plane, rotation // 90) for plane in truth(path)[1]]
    expected = [plane[:, ::-1] for plane in expected] if hflip else expected
    assert same(split(got.data[0], got.size), expected)
    assert got.size == expected[0].shape


def test_odd_sizes_are_padded_by_their_last_row_and_column(tmp_path: Path) -> None:
    _, video = index_one(make_clip(tmp_path / "a.mkv", "ffv1", frames=2, size=(5, 7)))
    got = decode(video, np.array([0, 1]))
    assert got.size == (5, 7)
    assert got.data.shape == (2, 9, 8)
    luma = got.data[:, :6]
    assert (luma[:, 5] == luma[:, 4]).all()
    assert (luma[:, :, 7] == luma[:, :, 6]).all()
    assert wrong_frames(video) == 0


def test_frames_go_into_the_memory_that_is_given(tmp_path: Path) -> None:
    _, video = index_one(make_clip(tmp_path / "a.mp4"))
    given: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        given.append(np.full(shape, 255, np.uint8))
        return given[-1]

    numbers = np.arange(3, 9)
    assert decode(video, numbers, allocate=allocate).data is given[0]
    assert np.array_equal(given[0], decode(video, numbers).data)


def test_threads_do_not_mix_up_their_frames(tmp_path: Path) -> None:
    videos = []
    for at, options in enumerate([{"gop": 10}, {"gop": 50}]):
        folder = tmp_path / str(at)
        folder.mkdir()
        videos.append(index_one(make_clip(folder / "a.mp4", **options))[1])  # type: ignore[arg-type]
    expected = [decode(video, np.arange(50)).data for video in videos]
    jobs = [(at % 2, numbers) for at in range(12) for numbers in subsets(50, at, 1)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda job: decode(videos[job[0]], job[1]).data, jobs))
    assert all(np.array_equal(data, expected[at][numbers]) for data, (at, numbers) in zip(got, jobs, strict=True))


@pytest.mark.parametrize("numbers", [[], [3, 3], [4, 2], [-1], [50]])
def test_wrong_numbers_are_named(numbers: list[int], tmp_path: Path) -> None:
    _, video = index_one(make_clip(tmp_path / "a.mp4"))
    with pytest.raises(DecodeError, match=r"numbers=.*0\.\.49"):
        decode(video, np.array(numbers, np.int64))


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    _, video = index_one(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DecodeError, match=r"a\.mp4: changed since it was indexed"):
        decode(video, np.array([0]))
    path.unlink()
    with pytest.raises(DecodeError, match=r"a\.mp4: No such file"):
        decode(video, np.array([0]))


def test_a_frame_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    _, video = index_one(path)
    with pytest.raises(DecodeError, match="1 of 2 frames were not decoded, among them 50"):
        decode(replace(video, packet=np.append(video.packet, np.int32(77))), np.array([3, 50]))


def test_a_seek_that_lands_elsewhere_is_never_a_wrong_frame(tmp_path: Path) -> None:
    """Timestamps that are off by one seek point: the landing is recognised by the packet, not believed."""
    _, video = index_one(make_clip(tmp_path / "a.mp4", gop=15))
    points = video.points
    assert len(points.frame) == 4
    early = replace(video, points=replace(points, timestamp=np.append(points.timestamp[:1], points.timestamp[:-1])))
    assert wrong_frames(early) == 0
    late = replace(video, points=replace(points, timestamp=np.append(points.timestamp[1:], points.timestamp[-1:])))
    with pytest.raises(DecodeError, match="were not decoded"):
        decode(late, np.array([20]))


def test_only_seek_points_that_reproduce_are_kept(tmp_path: Path) -> None:
    """An open group of pictures may begin with frames that need the group before: they belong to its seek point."""
    path = make_clip(tmp_path / "a.mp4", options={"x264-params": X264 + ":open-gop=1"})
    _, video = index_one(path)
    assert video.points.frame[0] == 0
    assert len(video.points.frame) > 1
    frames = truth(path)
    for start in video.points.frame:
        numbers = np.arange(start, video.frames)
        assert all(
            same(split(data, video.size), frames[n])
            for data, n in zip(decode(video, numbers).data, numbers, strict=True)
        )


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real videos are not there: {SHARED}")
def test_real_videos_have_no_wrong_frame() -> None:
    rows = {path: scan(path) for path in sorted(SHARED.rglob("*")) if path.is_file()}
    assert rows
    for path, row in rows.items():
        if row["status"] == "ok":
            assert wrong_frames(make_video(path, row), seed=path.stat().st_size, count=1) == 0, path
        else:
            assert row["frames"] == 0, path
            assert len(row["status"]) > 5, path
