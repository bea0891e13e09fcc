"""The column `motion` equals the kernel on the frames as they are decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tests.clips import make_clip
from tests.fuzz.test_index import rows
from vidssl import reference
from vidssl.index.motion import UNITS
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import decode


def measured(index: VideoIndex, row: int) -> npt.NDArray[np.float64]:
    """The change from frame to frame in 1/256 grey levels, by the reference, from frames of the decoder."""
    video = index.video(row)
    frames = decode(video, np.arange(video.frames))
    sad = reference.motion(frames.data, frames.size)[0].sum(axis=(1, 2), dtype=np.float64)
    return np.asarray(UNITS * sad / (video.size[0] * video.size[1]))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("plain.mp4", "libx264", {}),
        ("odd.avi", "mjpeg", {"form": "yuvj420p", "size": (47, 61)}),
        ("turned.mp4", "libx264", {"rotation": 90.0, "size": (50, 64)}),
        ("over.mp4", "libx264", {"rotation": 180.0, "size": (50, 62)}),
        ("mirrored.mp4", "libx264", {"hflip": True, "size": (50, 62)}),
        ("turned_10bit.mp4", "libx265", {"rotation": 270.0, "size": (50, 64), "form": "yuv420p10le"}),
        ("422_full.avi", "mjpeg", {"form": "yuvj422p"}),
        ("444_full.avi", "mjpeg", {"form": "yuvj444p"}),
        *((f"{form}.mkv", "ffv1", {"form": form}) for form in ("yuv410p", "yuv411p", "yuv422p", "yuv440p", "yuv444p")),
        *((f"{form}.mkv", "ffv1", {"form": form}) for form in ("yuva420p", "bgra", "gray", "yuv422p10le")),
    ],
)
def test_motion_is_that_of_the_decoded_frames(name: str, codec: str, options: dict[str, Any], tmp_path: Path) -> None:
    make_clip(tmp_path / name, codec, frames=23, **options)
    index = VideoIndex.build(tmp_path, progress=False)
    found = index.motion(0)
    assert (found.dtype, found.shape) == (np.uint16, (22,))
    assert np.array_equal(found, np.rint(measured(index, 0)))
    assert found.min() > UNITS  # the pictures differ by more than a grey level


def test_a_still_picture_does_not_move_and_a_flash_moves_most(tmp_path: Path) -> None:
    def show(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return np.full((*size, 3), 255 if number == 5 else 0, np.uint8)

    make_clip(tmp_path / "a.mkv", "ffv1", form="gray", frames=8, show=show)
    index = VideoIndex.build(tmp_path, progress=False)
    steps = index.motion(0).astype(int)
    assert steps[[0, 1, 2, 3, 6]].tolist() == [0] * 5
    assert steps[4] == steps[5] > 200 * UNITS


def test_frames_that_are_not_used_are_not_measured(tmp_path: Path) -> None:
    small = make_clip(tmp_path / "a.m2v", "mpeg2video", frames=15, gop=5).read_bytes()
    large = make_clip(tmp_path / "b.m2v", "mpeg2video", frames=9, gop=5, size=(64, 96)).read_bytes()
    (tmp_path / "a.m2v").write_bytes(small + large)
    (tmp_path / "b.m2v").write_bytes(b"")
    index = VideoIndex.build(tmp_path, progress=False)
    assert len(index.motion(0)) == index.frames(0) - 1
    assert np.array_equal(index.motion(0), np.rint(measured(index, 0)))
    assert len(index.motion(1)) == 0
    with pytest.raises(VidsslError, match=r"VideoIndex\.motion: row=2: the index has rows 0\.\.1"):
        index.motion(2)


def test_the_column_of_a_saved_index_is_a_view_and_its_damage_is_named(tmp_path: Path) -> None:
    path, table = tmp_path / "index.arrow", rows(300)
    VideoIndex(table, tmp_path).save(path)
    index = VideoIndex.load(path)
    found = index.motion(8)
    assert found.tolist() == table["motion"][8].as_py()
    assert not found.flags.owndata
    assert not found.flags.writeable
    whole = path.read_bytes()
    at = whole.index(found.tobytes())
    path.unlink()
    path.write_bytes(whole[: at + 3] + bytes([whole[at + 3] ^ 1]) + whole[at + 4 :])
    again = VideoIndex.load(path)
    assert again.motion(9).tolist() == table["motion"][9].as_py()
    for read in (lambda: again.motion(8), lambda: again.column("motion")):
        with pytest.raises(VidsslError, match=r"its (row 8|column 'motion') is damaged"):
            read()


def test_a_column_of_another_length_is_refused(tmp_path: Path) -> None:
    table = rows(2)
    place = table.schema.get_field_index("motion")
    short = pa.array([[], table["motion"][1].as_py()[:-1]], table.schema.field(place).type)
    with pytest.raises(VidsslError, match=r"row=1: \d+ values for \d+ frames: the index is damaged"):
        VideoIndex(table.set_column(place, "motion", short), tmp_path).motion(1)
