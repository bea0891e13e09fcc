"""A copy shows each frame when the source shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.clips import make_clip, make_packed_avi
from vidssl.index.table import VideoIndex
from vidssl.prepare.encode import Encoding, Preset, encode

SHARED = Path(__file__).resolve().parents[3] / "shared/data/clips"
SMALL = Encoding(short_side=32, preset="ultrafast")
UNEVEN = [40 * at + 300 * (at > 7) + 7 * (at > 20) for at in range(30)]


def without_rate(path: Path) -> Path:
    """A Matroska file that does not say its frame rate: its frames last 80 ms."""
    make_clip(path, frames=30, times=[80 * at for at in range(30)])
    data = path.read_bytes()
    at = data.index(bytes.fromhex("23e38384"))  # DefaultDuration, of 4 bytes
    path.write_bytes(data[:at] + bytes.fromhex("ec86") + bytes(6) + data[at + 8 :])  # Void
    return path


CLIPS: dict[str, Callable[[Path], Path]] = {
    "even.mp4": lambda path: make_clip(path, frames=30, bframes=3),
    "slow.mp4": lambda path: make_clip(path, frames=5, rate=1),
    "uneven.mp4": lambda path: make_clip(path, frames=30, times=UNEVEN, bframes=2),
    "uneven.webm": lambda path: make_clip(path, "libvpx", frames=30, times=UNEVEN),
    "uneven.ts": lambda path: make_clip(path, frames=30, times=UNEVEN),
    "late.mkv": lambda path: make_clip(path, frames=30, times=[5000 + 40 * at for at in range(30)]),
    "no_rate.mkv": without_rate,
    "even.ts": lambda path: make_clip(path, frames=30),
    "edited.mov": lambda path: make_clip(path, frames=30, bframes=3, times=[500 + time for time in UNEVEN]),
    "packed.avi": make_packed_avi,
    "plain.avi": lambda path: make_clip(path, "mpeg4", frames=30),
    "one.mp4": lambda path: make_clip(path, frames=1),
}


def times(path: Path) -> tuple[list[Fraction | None], Fraction, Fraction]:
    """Time of each frame, duration and frame rate; in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base, rate = stream.time_base or Fraction(1), stream.average_rate or stream.guessed_rate or Fraction(25)
        shown = [None if frame.pts is None else frame.pts * base for frame in container.decode(stream)]
        return shown, (stream.duration or 0) * base, rate


def check(video: Path, target: Path) -> None:
    index = VideoIndex.build(video.parent, progress=False)
    row = index.column("path").to_pylist().index(video.name)
    if row not in index.usable():
        pytest.skip("it cannot be used")
    names = ("regular", "color_range", "color_matrix", "color_primaries")
    about: dict[str, Any] = {name: index.column(name)[row].as_py() for name in names}
    encode(index.video(row), about, target, SMALL)
    (old, _, rate), (new, lasting, _) = times(video), times(target)
    count = index.frames(row)
    assert len(new) == count
    known = [(at, time) for at, time in enumerate(old[:count]) if time is not None]
    first = known[0][1] - known[0][0] / rate
    if video.suffix == ".avi":  # its frames are even; FFmpeg's times of them are not
        known, first = [(at, at / rate) for at in range(count)], Fraction(0)
    ends = [time for time in new if time is not None]
    assert ends[0] == 0
    assert max(abs(ends[at] - (time - first)) for at, time in known) < 1 / rate
    longest = max([1 / rate, *(b - a for (_, a), (_, b) in pairwise(known))])
    assert 0 < lasting - ends[-1] <= longest  # the last frame is shown as well


@pytest.mark.parametrize("name", CLIPS)
def test_a_copy_shows_each_frame_when_the_source_does(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    check(CLIPS[name](tmp_path / "in" / name), tmp_path / "copy.mp4")


REAL = ["asl_brother_vfr_fullrange.mkv", "wlasl_61804_vfr.mp4", "fire2_720p_lowfps.mp4", "ucf101_eyemakeup_test.avi"]


@pytest.mark.parametrize("name", REAL)
@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional real clips (../shared/data/clips) are not there")
def test_so_do_copies_of_real_clips(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).symlink_to(SHARED / name)
    check(tmp_path / "in" / name, tmp_path / "copy.mp4")


def drifting(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Picture `number` of a camera that moves over grey squares, up and to the left."""
    height, width = size
    squares = np.random.default_rng(height * width).integers(0, 255, (60, 80, 1), np.uint8).repeat(8, 0).repeat(8, 1)
    seen = squares[200 - 3 * number :][:height, 400 - 7 * number :][:, :width]
    return np.ascontiguousarray(seen.repeat(3, 2))


@pytest.mark.parametrize("preset", ["veryfast", "medium"])
def test_the_bytes_of_a_copy_do_not_depend_on_what_new_memory_holds(preset: Preset, tmp_path: Path) -> None:
    # x264's AVX-512 code for its macroblock tree reads past rows whose length is no multiple of 128 pixels
    (tmp_path / "in").mkdir()
    for width in range(16, 128, 16):
        for height in (32, 48, 64, 96):
            make_clip(tmp_path / "in" / f"{width}x{height}.mp4", frames=40, size=(height, width), show=drifting)
    copies = []
    for fill in (0, 85, 170):  # glibc writes it into new memory
        command = [sys.executable, "-m", "vidssl", "prepare", str(tmp_path / "in"), str(tmp_path / str(fill))]
        surroundings = {**os.environ, "MALLOC_PERTURB_": str(fill)}
        subprocess.run([*command, "--preset", preset, "--workers", "1"], env=surroundings, check=True)
        copies.append([path.read_bytes() for path in sorted((tmp_path / str(fill)).rglob("*.mp4"))])
    assert len(copies[0]) == 28
    assert copies[0] == copies[1] == copies[2]
