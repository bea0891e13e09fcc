"""verify: frames of a damaged file are those of a plain sequential decode wherever decoding begins, or left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.clips import make_clip, same, split, subsets, truth
from tests.fuzz.mutate import mutate
from vidssl.index.row import make_video
from vidssl.index.scan import scan
from vidssl.index.verify import frame_checksum
from vidssl.native import kernels
from vidssl.types import InvalidArgument
from vidssl.video.decode import Video, decode
from vidssl.video.packets import PacketReader

CASE = Path(__file__).parents[3] / "shared" / "data" / "cases" / "vp8_damaged_seek_differs.webm"
# (name, codec, options, seeds whose damage gave other frames after a seek than in sequence)
DAMAGED: dict[str, Any] = {
    "mjpeg": ("a.avi", "mjpeg", {"form": "yuvj420p"}, [1, 3, 11, 17, 61, 86]),
    "vp8": ("a.webm", "libvpx", {}, [13, 79, 1088]),
    "h264": ("a.ts", "libx264", {}, [109, 183, 186, 367, 521]),
}


def scanned(path: Path) -> tuple[dict[str, Any], Video]:
    row = scan(path)
    row["packet"] = row["packet"] or list(range(row["frames"]))
    return row, make_video(path, row)


def wrong(video: Video) -> list[int]:
    """The frames that differ from a plain sequential decode, in stretches from each seek point and in other windows."""
    right = truth(video.path, video.stream)
    starts = video.points.frame.tolist()
    stretches = [np.arange(start, end) for start, end in zip(starts, [*starts[1:], video.frames], strict=True)]
    return sorted(
        {
            int(number)
            for numbers in [*stretches, *subsets(video.frames, 1, 3)]
            for number, data in zip(numbers, decode(video, numbers).data, strict=True)
            if not same(split(data, video.size), right[number])
        }
    )


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_that_no_decoder_reports_gives_no_other_frames(kind: str, tmp_path: Path) -> None:
    name, codec, how, seeds = DAMAGED[kind]
    path = make_clip(tmp_path / name, codec, frames=60, gop=13, size=(96, 128), **how)
    whole = path.read_bytes()
    for seed in seeds:
        path.write_bytes(mutate(whole, seed, first=800 if seed % 4 else 0))
        row, video = scanned(path)
        assert row["status"] == "ok"
        assert wrong(video) == [], f"seed {seed}: {row['note']}"


@pytest.mark.skipif(not CASE.is_file(), reason="needs the cases")
def test_a_picture_that_is_not_all_decoded_is_left_out() -> None:
    row, video = scanned(CASE)
    assert row["note"] == "only the first 25 frames are used: decoding it twice gives different frames 25 and later"
    assert (video.frames, wrong(video)) == (25, [])


def test_nothing_is_dropped_where_the_container_reports_damage(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts", "libx264", frames=60, gop=13, size=(96, 128))
    assert scan(path)["droppable"]
    path.write_bytes(mutate(path.read_bytes(), 109, first=800))
    with PacketReader(path) as reader:
        assert any(packet.is_corrupt for _, packet in reader.packets())
    row, video = scanned(path)
    assert (row["status"], row["droppable"], wrong(video)) == ("ok", False, [])


def test_every_packet_and_the_headers_have_a_checksum(tmp_path: Path) -> None:
    row = scan(make_clip(tmp_path / "a.mp4", "libx264", frames=14, gop=5))
    assert len(row["checksums"]) == len(set(row["checksums"].tolist())) == 14
    assert row["header_checksum"] > 0


@pytest.mark.parametrize(("form", "width"), [("yuv420p", 62), ("yuv444p10le", 124), ("gray", 62)])
def test_a_checksum_sees_each_byte_of_a_picture_and_not_those_beside_it(form: str, width: int, tmp_path: Path) -> None:
    _, video = scanned(make_clip(tmp_path / "a.mkv", "ffv1", frames=1, size=(46, 62)))
    rng = np.random.default_rng(1)
    frame = VideoFrame(62, 46, form)
    planes: list[Any] = list(frame.planes)
    bytes_ = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in planes]
    for data in bytes_:
        data[:] = rng.integers(0, 256, data.shape)
    before = frame_checksum(video, frame)
    bytes_[0][:, width:] += 1
    assert frame_checksum(video, frame) == before
    found = {before}
    for data in bytes_:
        for _ in range(60):
            data[rng.integers(20), rng.integers(30)] ^= 1 << rng.integers(8)
            found.add(frame_checksum(video, frame))
    assert len(found) == 1 + 60 * len(bytes_)


def test_a_plane_that_is_too_small_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="plane: its 10 bytes cannot hold 3 lines of 4 bytes, 4 bytes apart"):
        kernels.plane_checksum(np.zeros(10, np.uint8), 4, 3, 4)
    with pytest.raises(InvalidArgument, match="height=0, width=4: take at least 1 line of 1 byte"):
        kernels.plane_checksum(np.zeros(10, np.uint8), 4, 0, 4)
