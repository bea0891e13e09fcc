"""Folders of frames: exact frames of numbered pictures, each read alone, and what is damaged or gone is named."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image, ImageOps

from tests.clips import make_frames, truth
from vidssl import VideoIndex
from vidssl.video.decode import decode
from vidssl.video.packets import DecodeError
from vidssl.video.pictures import Numbering

KINDS: dict[str, dict[str, Any]] = {
    "420": {"quality": 90},
    "422": {"subsampling": 1},
    "444": {"subsampling": 0},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "rgb": {"keep_rgb": True},
    "cmyk": {"mode": "CMYK"},
    "odd": {"size": (49, 67)},
    "png": {"name": "{:d}.png", "first": 8},
    "webp": {"name": "{:04d}.webp"},
    "bmp": {"name": "{:04d}.bmp"},
    "tiff": {"name": "f.{:04d}.tif"},
    "percent": {"name": "50%d {:03d}.JPG", "first": 990},
}


def build(root: Path, **options: Any) -> VideoIndex:
    return VideoIndex.build(root, workers=2, progress=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_each_picture_alone(kind: str, tmp_path: Path) -> None:
    """In one run, alone, and far apart; beside FFmpeg's decode of each file by itself."""
    folder = make_frames(tmp_path / "100%", **KINDS[kind])
    index = build(tmp_path)
    assert index.column("status").to_pylist() == ["ok"]
    video = index.video(0)
    assert video.frames == 30
    height, width = KINDS[kind].get("size", (48, 64))
    numbering = Numbering.of(video.path)
    assert numbering is not None
    for numbers in ([*range(30)], [29], [0, 13, 14, 27], [11, 12]):
        data = decode(video, np.asarray(numbers)).data
        for number, planes in zip(numbers, data, strict=True):
            (alone,) = truth(folder / numbering.name(number))
            luma, rows = planes[:height, :width], height + height % 2
            assert (luma == alone[0]).all()
            chroma = planes[rows:].reshape(2, rows // 2, -1)
            assert (chroma == np.stack(alone[1:])).all()


def _luma(path: Path) -> npt.NDArray[np.float64]:
    """Luma as Pillow reads it, upright: of JPEG as stored, else of RGB."""
    with Image.open(path) as picture:
        if picture.mode == "RGB":
            picture.draft("YCbCr", None)
        shown = np.asarray(ImageOps.exif_transpose(picture), np.float64)
        if picture.mode == "RGB":
            shown = shown @ (0.299, 0.587, 0.114)
        return shown[..., 0] if shown.ndim == 3 else shown


@pytest.mark.parametrize("kind", ["420", "444", "progressive", "grey", "png"])
def test_libjpeg_gives_the_same_luma_up_to_rounding(kind: str, tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v", frames=8, **KINDS[kind])
    video = build(tmp_path).video(0)
    data = decode(video, np.arange(8)).data[:, :48].astype(np.float64)
    for found, path in zip(
        data, sorted(folder.iterdir(), key=lambda path: int(re.sub(r"\D", "", path.name))), strict=True
    ):
        shown = found if video.full_range else (found - 16) * 255 / 219
        assert np.abs(shown - _luma(path)).max() <= 2


def test_only_the_wanted_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_frames(tmp_path / "v")
    video = build(tmp_path).video(0)
    whole = decode(video, np.arange(30)).data
    for number in (2, 8, 9, 10, 30):
        path = folder / f"img_{number:05d}.jpg"
        path.write_bytes(b"no picture" * 10)
    assert (decode(video, np.asarray([0, 2, 6, 10, 28])).data == whole[[0, 2, 6, 10, 28]]).all()


def test_a_picture_that_changed_or_is_gone_is_named(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v")
    video = build(tmp_path).video(0)
    path = folder / "img_00021.jpg"
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes(38) + data[-2:])
    with pytest.raises(DecodeError, match="packet 20 has other bytes than when it was indexed"):
        decode(video, np.asarray([3, 20]))
    path.unlink()
    with pytest.raises(DecodeError, match=r"v: img_00021.jpg is missing; restore the picture, or index the folder"):
        decode(video, np.asarray([3, 25]))
    assert decode(video, np.asarray([3, 5])).data.shape[0] == 2


def test_a_first_picture_of_another_time_is_a_change(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v")
    video = build(tmp_path).video(0)
    os.utime(folder / "img_00001.jpg", ns=(1, 1))
    with pytest.raises(DecodeError, match="changed since it was indexed"):
        decode(video, np.asarray([3]))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_exif_data_turns_pictures(turn: int, ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    folder = make_frames(tmp_path / "v", frames=4, exif=exif, name=f"{{}}.{ending}")
    video = build(tmp_path).video(0)
    expected = _luma(folder / f"2.{ending}")
    assert video.size == expected.shape
    found = decode(video, np.asarray([1])).data[0, : video.size[0], : video.size[1]].astype(np.float64)
    assert np.abs((found if video.full_range else (found - 16) * 255 / 219) - expected).max() <= 2


def test_pictures_that_are_turned_differently_are_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    make_frames(tmp_path / "v", frames=3)
    make_frames(tmp_path / "v", frames=3, first=4, exif=exif)
    (status,) = build(tmp_path).column("status").to_pylist()
    assert status == "img_00004.jpg is turned otherwise than img_00001.jpg by its EXIF data; turn all upright"


def test_a_video_of_pictures_with_exif_data_is_read_or_named(tmp_path: Path) -> None:
    for turn in (1, 6):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = turn
        folder = make_frames(tmp_path / f"of{turn}", exif=exif, frames=4, name="{}.jpg")
        with (
            av.open(str(folder / "%d.jpg"), format="image2") as source,
            av.open(str(tmp_path / f"{turn}.mov"), "w") as out,
        ):
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    index = build(tmp_path)
    found = dict(zip(index.column("path").to_pylist(), index.column("status").to_pylist(), strict=True))
    assert found == {
        "1.mov": "ok",
        "6.mov": "EXIF data turns its pictures; take it out of them",
        "of1": "ok",
        "of6": "ok",
    }


def _cut(path: Path, fraction: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


@pytest.mark.parametrize(
    ("number", "fraction", "said"),
    [
        (5, 0.0, "only the first 4 frames are used: img_00005.jpg is empty"),
        (5, 0.05, "only the first 4 frames are used: img_00005.jpg is damaged: Invalid data"),
        (5, 0.5, "only the first 4 frames are used: img_00005.jpg is cut off: its end is missing"),
        (5, 0.99, "only the first 4 frames are used: img_00005.jpg is cut off: its end is missing"),
        (1, 0.0, "no frame decodes: img_00001.jpg is empty"),
        (1, 0.5, "no frame decodes: img_00001.jpg is cut off: its end is missing"),
    ],
)
def test_a_damaged_picture_is_named(number: int, fraction: float, said: str, tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v", frames=8)
    _cut(folder / f"img_{number:05d}.jpg", fraction)
    index = build(tmp_path)
    row = index.row(0)
    assert row["note" if number > 1 else "status"].startswith(said)
    assert row["frames"] == number - 1
    if number > 1:
        assert decode(index.video(0), np.arange(4)).data.shape[0] == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_picture_that_may_not_be_read_is_read_again_later(tmp_path: Path) -> None:
    folder = make_frames(tmp_path / "v", frames=8)
    (folder / "img_00005.jpg").chmod(0)
    index = build(tmp_path)
    assert index.column("status").to_pylist() == ["not read: permission denied"]


def test_pictures_of_two_sizes_keep_the_longest_part(tmp_path: Path) -> None:
    make_frames(tmp_path / "v", frames=5)
    make_frames(tmp_path / "v", frames=8, first=6, size=(40, 32))
    index = build(tmp_path)
    row = index.row(0)
    assert (row["frames"], row["start"], row["width"]) == (8, 5, 32)
    assert row["note"] == "only frames 5 to 12 are used, the longest part of one size, 32x40 yuvj420p"
    (expected,) = truth(tmp_path / "v" / "img_00008.jpg")
    assert (decode(index.video(0), np.asarray([2])).data[0, :40] == expected[0]).all()


def test_pictures_named_by_another_ending_are_named(tmp_path: Path) -> None:
    make_frames(tmp_path / "v", frames=4, name="{}.jpg", format="PNG")
    (status,) = build(tmp_path).column("status").to_pylist()
    assert status.startswith("no frame decodes: 1.jpg is damaged: Invalid data")
