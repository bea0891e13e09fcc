"""An AVI file stores no times: dropped frames are empty chunks, and are neither lost nor taken for a constant rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import VideoFrame

from tests.clips import make_clip, make_packed_avi, picture
from vidssl.index.table import VideoIndex
from vidssl.prepare.encode import Encoding, encode
from vidssl.video.times import chunk_times

SHOWN = [at + 3 * (at > 11) + (at > 20) for at in range(30)]  # ticks: three frames are dropped, then one


def make_gaps(path: Path, codec: str, form: str, bframes: int | None) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = 48, 64, form, 10
        if bframes is not None:
            stream.max_b_frames = bframes
        for at, tick in enumerate(SHOWN):
            frame = VideoFrame.from_ndarray(picture(at, (48, 64)), format="rgb24").reformat(format=form)
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("codec", "form", "bframes"),
    [("mpeg4", "yuv420p", 0), ("mpeg4", "yuv420p", 2), ("libx264", "yuv420p", 2), ("mjpeg", "yuvj420p", None)],
)
def test_dropped_frames_of_avi_keep_their_time(codec: str, form: str, bframes: int | None, tmp_path: Path) -> None:
    make_gaps(tmp_path / "a.avi", codec, form, bframes)
    index = VideoIndex.build(tmp_path, progress=False)
    row = index.table.to_pylist()[0]
    assert (row["frames"], row["regular"]) == (30, False)
    encode(index.video(0), row, tmp_path / "copy.mp4", Encoding(short_side=48))
    with av.open(str(tmp_path / "copy.mp4")) as container:
        base = container.streams.video[0].time_base
        times = [frame.pts * base for frame in container.decode(video=0) if frame.pts is not None and base]
    # In AVI a frame is dropped between two chunks. With B-frames, that is later by the encoder's delay in frames.
    delay = bframes or 0
    assert max(abs(25 * time - tick) for time, tick in zip(times, SHOWN, strict=True)) <= delay * 3
    assert times[-1] - times[0] == Fraction(SHOWN[-1] - SHOWN[0], 25)


def test_avi_without_dropped_frames_is_regular(tmp_path: Path) -> None:
    make_clip(tmp_path / "b.avi", "libx264", frames=20, bframes=2)
    make_clip(tmp_path / "c.avi", "mpeg4", frames=20, bframes=2)
    make_packed_avi(tmp_path / "d.avi", frames=20)
    assert VideoIndex.build(tmp_path, progress=False).table["regular"].to_pylist() == [True] * 3


def test_chunks_are_shown_in_their_order() -> None:
    assert chunk_times([0, 1, 4, 5, 6], [0, 2, 1, 4]) == [0, 1, 4, 6]
    assert chunk_times([0, None, 4], [0, 2]) == [0, 4]
    assert chunk_times([0, None, 4], [0, 1, 2]) is None
