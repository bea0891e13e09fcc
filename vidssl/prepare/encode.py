"""Re-encodes one video, frame by frame, as H.264 that decodes quickly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from vidssl.settings import Settings
from vidssl.types import VidsslError
from vidssl.video.color import MATRICES, PRIMARIES, RANGES
from vidssl.video.decode import Planes, Video
from vidssl.video.packets import DecodeError, PacketReader, number_of
from vidssl.video.pictures import IMAGE2
from vidssl.video.times import TIMELESS, chunk_times

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
_DRIFT = Fraction(1, 2)  # frames by which the time of a frame may differ from an even one
# Without its macroblock tree, x264 gives the same bytes twice: the AVX-512 code for it reads memory that nobody wrote.
REPEATABLE = {"x264-params": "mbtree=0"}
_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, kw_only=True)
class Encoding(Settings, owner="prepare"):
    """Settings of x264. Videos become 8-bit 4:2:0 without B-frames, tuned for fast decoding.

    Args:
        short_side: Pixels of the shorter side; smaller videos are not scaled. No recipe uses more than 256.
        multiple: Both sides are rounded to multiples of this, the longer one so that the aspect ratio changes least.
            With 16, NVDEC uses one decoder for all videos of a size; other sizes need a new decoder for each window (50
            to 70 ms), or the CPU. 2 changes sizes as little as 4:2:0 allows.
        gop: Frames from one key frame to the next. At most so many are decoded before a window begins.
        crf: Quality, from 0 (lossless) to 51; 18 looks almost like the source.
        preset: Preset of x264; slower presets make smaller files.
    """

    short_side: int = 256
    multiple: int = 16
    gop: int = 16
    crf: int = 18
    preset: Preset = "veryfast"

    def __post_init__(self) -> None:
        for name, good, fix in (
            ("short_side", self.short_side >= 16, "take at least 16"),
            ("multiple", self.multiple >= 2 and self.multiple % 2 == 0, "take an even number"),
            ("gop", self.gop >= 1, "take at least 1"),
            ("crf", 0 <= self.crf <= 51, "take 0 to 51"),
        ):
            if not good:
                raise VidsslError(f"prepare: {name}={getattr(self, name)!r}: {fix}")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) of the output for a video of this size."""
        short, long = sorted((height, width))
        new_short = self._rounded(min(short, self.short_side))
        new_long = self._rounded(long * new_short / short)
        return (new_short, new_long) if height <= width else (new_long, new_short)

    def _rounded(self, pixels: float) -> int:
        return max(1, int(pixels / self.multiple + 0.5)) * self.multiple


class _Drift(Exception):
    """The frames of a source are not where its frame rate says."""


def encode(video: Video, row: dict[str, Any], target: Path, how: Encoding) -> None:
    """Re-encodes a video. Frame k of `target` is frame k of `video`, upright and scaled; its colours stay.

    Its time, from the first frame on, differs from the source's by less than a frame.

    Args:
        video: The source.
        row: The video's row of the index.
        target: File to write.
        how: The settings.

    Raises:
        DecodeError: A frame cannot be decoded.
        av.FFmpegError: A frame cannot be written.
    """
    try:
        _encode(video, row, target, how, even=row["regular"] is not False)
    except _Drift:
        _encode(video, row, target, how, even=False)


def _encode(video: Video, row: dict[str, Any], target: Path, how: Encoding, *, even: bool) -> None:
    with (
        video.open() as reader,
        av.open(str(target), "w", format="mp4") as output,
    ):
        times = _Times(video, reader, row, even=even)
        height, width = how.size(*video.size)
        options = {"preset": how.preset, "crf": str(how.crf), "tune": "fastdecode", **REPEATABLE}
        stream: Any = output.add_stream("libx264", rate=times.rate, options=options)
        coder = stream.codec_context
        coder.width, coder.height, coder.pix_fmt = width, height, "yuv420p"
        coder.gop_size, coder.max_b_frames, coder.thread_count = how.gop, 0, 1
        coder.time_base = times.base
        coder.color_range, coder.colorspace = RANGES.index(row["color_range"]), MATRICES.index(row["color_matrix"])
        coder.color_primaries = next(number for number, name in PRIMARIES.items() if name == row["color_primaries"])
        picture = _Picture(video, row, (height, width))
        count = 0
        for frame in _wanted(video, reader):
            shown = picture.of(frame)
            shown.pts, shown.time_base = times.of(frame, count), times.base
            output.mux(times.lasting(stream.encode(shown)))
            count += 1
        output.mux(times.lasting(stream.encode()))
    if count != video.frames:
        raise DecodeError(
            f"{video.path}: only {count} of {video.frames} frames could be decoded; index the videos again"
        )


def _wanted(video: Video, reader: PacketReader) -> Iterator[VideoFrame]:
    """Yields the frames that the index counts, in order."""
    order = iter(video.packet.tolist())
    expected = next(order)
    for _, packet in reader.packets():
        for frame in reader.frames(packet):
            if number_of(frame) == expected:
                yield frame
                expected = next(order, -2)
    for frame in reader.frames(None):
        if number_of(frame) == expected:
            yield frame
            expected = next(order, -2)


class _Times:
    """Timestamps of the copy's frames: evenly spaced if the source is even or has no timestamps, else the source's.

    A frame of the source without a time, or with one that is not after the previous frame's, comes one frame later than
    the previous frame.
    """

    def __init__(self, video: Video, reader: PacketReader, row: dict[str, Any], *, even: bool) -> None:
        self.rate: Fraction = reader.stream.average_rate or reader.stream.guessed_rate or Fraction(25)
        if reader.numbering is not None:  # pictures have no times
            self.rate = Fraction(row["frame_rate"]).limit_denominator(1001)
        self._source = reader.stream.time_base
        self._even = even or self._source is None
        self._timed = self._source is not None and video.container not in (TIMELESS, IMAGE2)
        self.base = 1 / self.rate if self._even or self._source is None else self._source
        self._chunks = _chunk_times(video) if video.container == TIMELESS and not self._even else None
        self._step = max(1, round(1 / (self.rate * self.base)))  # from a frame to the next one
        self._first: int | None = None  # time of the source that is 0 in the copy
        self._last = 0

    def of(self, frame: VideoFrame, count: int) -> int:
        """The time of frame `count` in units of `base`.

        Raises:
            _Drift: The source has times, but not those of its frame rate.
        """
        if self._even:
            self._check(frame, count)
            return count
        shown = frame.pts if self._chunks is None else self._chunks[count]
        expected = self._last + self._step if count else 0
        time = expected if shown is None or self._first is None else shown - self._first
        if count and time <= self._last:
            time = expected
        elif count:
            self._step = frame.duration or time - self._last
        if shown is not None:
            self._first = shown - time
        self._last = time
        return time

    def lasting(self, packets: list[Packet[Any]]) -> list[Packet[Any]]:
        """Sets how long the frames of these packets are shown; of a file, only the last one's counts."""
        if not self._even:
            for packet in packets:
                packet.duration = self._step
        return packets

    def _check(self, frame: VideoFrame, count: int) -> None:
        if not self._timed or frame.pts is None or self._source is None:
            return
        if self._first is None:
            self._first = frame.pts - round(count / (self.rate * self._source))
        if abs((frame.pts - self._first) * self._source * self.rate - count) > _DRIFT:
            raise _Drift


def _chunk_times(video: Video) -> list[int] | None:
    with video.open() as reader:
        return chunk_times([packet.dts for _, packet in reader.packets()], video.packet.tolist())


class _Picture:
    """Turns a frame upright, converts it to 8-bit 4:2:0, and scales it."""

    def __init__(self, video: Video, row: dict[str, Any], size: tuple[int, int]) -> None:
        self._upright, self._size = Planes(video, 1), size
        self._convert = VideoReformatter()
        self._tags = RANGES.index(row["color_range"]), MATRICES.index(row["color_matrix"])

    def of(self, frame: VideoFrame) -> VideoFrame:
        self._upright.store(0, frame)
        whole = VideoFrame.from_ndarray(np.ascontiguousarray(self._upright.data[0]), format="yuv420p")
        whole.color_range, whole.colorspace = self._tags
        height, width = self._size
        if (whole.height, whole.width) == (height, width):
            return whole
        return self._convert.reformat(whole, width, height, "yuv420p", interpolation=_SCALING, threads=1)
