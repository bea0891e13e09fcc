"""Scans one file to one row of the index.

Every frame is decoded once, in sequence. A seek point is recorded only if decoding from it gives the same frames.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from vidssl.deadline import Deadline, FileTimeoutError
from vidssl.files import stat_regular
from vidssl.index.boxes import lacks_moov, max_samples
from vidssl.index.row import FRAMES, make_points, make_video, member_of
from vidssl.video.color import MATRICES, PRIMARIES, RANGES, chroma_position, refusal
from vidssl.video.decode import PLANAR, Planes, Video, decode, is_yuv
from vidssl.video.packets import DecodeError, Member, PacketId, PacketReader, SeekPoints, id_of, number_of

# Frames between seek points, at least. Closer points would save less decoding than they cost to verify.
_APART = 12
# The first frames after a seek point, and the last frame before the next point, must equal those of the sequential
# pass. The last frame depends on all reference frames in between. It is decoded as in training, where non-reference
# frames are skipped.
_PROBED = 3
_LANDING = ("pos", "pts", "dts", "size")


class UnusableError(Exception):
    """Why a file is left out."""


def scan(
    path: Path,
    offset: int | None = None,
    size: int | None = None,
    refused: str = "",
    seconds: float | None = None,
    *,
    whole: bool = True,
) -> dict[str, Any]:
    """Scan a file.

    Args:
        path: The file.
        offset: For a member of a tar at `path`, its first byte.
        size: For a member, its length in bytes.
        refused: Why the file must not be opened, if that is already certain.
        seconds: Time limit in seconds, as in `Deadline`.
        whole: Decode every frame. False decodes only the first one, and leaves out the columns that need all frames.

    Returns:
        The columns of `vidssl.index.schema.SCHEMA` that the file itself decides. If the file cannot be used, `status`
        gives the reason.
    """
    row = unusable("ok")
    try:
        found = stat_regular(path)
        place = Member(offset or 0, found.st_size if size is None else size)
        row |= {"offset": offset, "bytes": place.bytes, "mtime_ns": found.st_mtime_ns}
        if offset is None and path.suffix.lower() == ".tar":
            raise UnusableError("a tar file that cannot be read to its end; the members before the damage are used")
        if refused:
            raise UnusableError(refused)
        if not 0 <= place.offset <= place.offset + place.bytes <= found.st_size:
            end = place.offset + place.bytes
            raise UnusableError(f"its tar has {found.st_size} bytes, but the header places it at {place.offset}..{end}")
        with Deadline.enter(path, place.bytes, seconds):
            _refuse_at_sight(path, place)
            row |= _read(path, row) if whole else _read_first(path, row)
    except UnusableError as reason:
        row["status"] = str(reason)
    except DecodeError as error:
        row["status"] = str(error).removeprefix(f"{path}: ")
    except FileTimeoutError as error:
        row["status"] = error.reason
    except av.FFmpegError as error:
        row["status"] = f"FFmpeg cannot open it: {error.strerror}"
    except OSError as error:
        row["status"] = f"cannot be read: {error.strerror}"
    return row


def unusable(status: str) -> dict[str, Any]:
    """A row for a file about which only `status` is certain."""
    return {"status": status, "note": "", "frames": 0, "packet": [], "points": []}


def _refuse_at_sight(path: Path, place: Member) -> None:
    if path.name.startswith("._"):
        raise UnusableError("not a video: macOS resource fork")
    if place.bytes == 0:
        raise UnusableError("empty file")
    with path.open("rb") as file:
        file.seek(place.offset)
        if file.read(40).startswith(b"version https://git-lfs"):
            raise UnusableError("not a video: Git LFS pointer; fetch it with `git lfs pull`")
        if lacks_moov(file, place):
            raise UnusableError("truncated: its table of contents (moov box) is missing")
        samples = max_samples(file, place)
        if samples > place.bytes:
            raise UnusableError(
                f"damaged: its table of contents claims {samples} frames, but it has only {place.bytes} bytes"
            )


def _read(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    first: VideoFrame | None = None
    with PacketReader(path, member=member_of(about)) as source:
        rate = source.stream.average_rate or source.stream.guessed_rate
        row: dict[str, Any] = {"container": source.container.format.name, "codec": source.codec.name}
        second = int(1 / source.stream.time_base) if source.stream.time_base else 1
        watch: _Watch | None = None
        keys: dict[int, PacketId] = {}
        note = ""
        try:
            for frame in _sequence(source, keys):
                if watch is None:
                    first = frame
                    row |= _picture(row["codec"], frame)
                    watch = _Watch(make_video(path, about | row), keys, second, row["container"] == "avi")
                note = watch.see(frame)
                if note:
                    break
        except av.FFmpegError as error:
            note = f"decoding failed: {error.strerror}"
        if watch is None or first is None or not watch.packets:
            raise UnusableError(f"no frame decodes: {note or 'the stream is empty'}")
    watch.finish()
    points = watch.verified()
    count = len(watch.packets)
    notes = [f"only the first {count} frames are used: {note}"] if note else []
    if row["pixel_format"] not in PLANAR:
        notes.append(f"converted from {row['pixel_format']} to 8-bit 4:2:0 by swscale")
    return row | {
        "frame_rate": float(rate) if rate else None,
        "regular": watch.regular(),
        "frames": count,
        "packet": watch.packets,
        "points": [
            {"frame": frame, "packet": packet, "timestamp": stamp, **dict(zip(_LANDING, landing, strict=True))}
            for frame, packet, stamp, landing in zip(
                points.frame, points.packet, points.timestamp, points.packet_id, strict=True
            )
        ],
        "note": "; ".join(notes),
    }


def _read_first(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    with PacketReader(path, member=member_of(about)) as source:
        row: dict[str, Any] = {"container": source.container.format.name, "codec": source.codec.name}
        try:
            frame = next(_sequence(source, {}), None)
        except av.FFmpegError as error:
            raise UnusableError(f"no frame decodes: decoding failed: {error.strerror}") from error
        if frame is None or frame.is_corrupt:
            raise UnusableError(f"no frame decodes: {'the stream is empty' if frame is None else 'frame 0 is damaged'}")
        row |= _picture(row["codec"], frame)
        make_video(path, about | row)  # refuses pictures that are too large
        return row


def _sequence(source: PacketReader, keys: dict[int, PacketId]) -> Iterator[VideoFrame]:
    """Yield all frames in presentation order, and add the packets where decoding might begin to `keys`."""
    for number, packet in source.packets():
        if packet.is_keyframe or number == 0:
            keys[number] = id_of(packet)
        yield from source.frames(packet)
    yield from source.frames(None)


def _picture(codec: str, frame: VideoFrame) -> dict[str, Any]:
    """Sizes, orientation and colours, from the first frame."""
    rotation, mirror = _orientation(frame)
    height, width = (frame.width, frame.height) if rotation in (90, 270) else (frame.height, frame.width)
    form = frame.format
    if form.name.startswith(("bayer", "xyz")) or "float" in form.name:
        raise UnusableError(f"unsupported pixel format {form.name}")
    yuv = is_yuv(form)
    matrix = MATRICES[frame.colorspace] if frame.colorspace < len(MATRICES) else "unknown"
    primaries = PRIMARIES.get(frame.color_primaries, "unknown")
    range_ = "pc" if form.name.startswith("yuvj") else RANGES[frame.color_range]
    if not yuv:  # the converter turns RGB and grey into this
        matrix, range_ = "smpte170m", "tv"
    reason = refusal(matrix, primaries)
    if reason:
        raise UnusableError(reason)
    chroma = chroma_position(codec, form.name)
    return {
        "pixel_format": form.name,
        "coded_width": frame.width,
        "coded_height": frame.height,
        "width": width,
        "height": height,
        "rotation": rotation,
        "mirror": mirror,
        "color_matrix": matrix,
        "color_primaries": primaries,
        "color_range": range_,
        "chroma_x": chroma[0],
        "chroma_y": chroma[1],
    }


# Maps (a, b, c, d) of FFmpeg's display matrix (x' = a x + c y, y' = b x + d y, y downwards) to (degrees clockwise, True
# if mirrored left to right afterwards).
_UPRIGHT = {
    (1, 0, 0, 1): (0, False),
    (0, 1, -1, 0): (90, False),
    (-1, 0, 0, -1): (180, False),
    (0, -1, 1, 0): (270, False),
    (-1, 0, 0, 1): (0, True),
    (0, 1, 1, 0): (90, True),
    (1, 0, 0, -1): (180, True),
    (0, -1, -1, 0): (270, True),
}


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    side: Any = frame.side_data
    matrix = next((data for data in side if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    part = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]] / 65536.0
    unit = part / max(float(np.abs(part).max()), 1e-9)
    key = tuple(int(value) for value in np.round(unit))
    if key not in _UPRIGHT or np.abs(unit - np.round(unit)).max() > 0.02:
        raise UnusableError(f"its display matrix {part.round(3).tolist()} is not a multiple of a quarter turn")
    return _UPRIGHT[key]


@dataclass
class _Watch:
    """The record of the sequential pass.

    It holds each frame's packet and time, and checksums of the frames that seek points must reproduce.
    """

    video: Video
    keys: dict[int, PacketId]
    second: int  # one second, in the stream's time base
    even: bool  # True if the container gives all frames the same duration
    packets: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    sums: dict[int, int] = field(default_factory=dict)
    previous: VideoFrame | None = None

    def see(self, frame: VideoFrame) -> str:
        """Record the next frame. Returns why this frame and later ones cannot be used, or ""."""
        number, ordinal = len(self.packets), number_of(frame)
        if number == FRAMES:
            return f"the index holds at most {FRAMES} frames per file"
        if frame.is_corrupt:
            self._cut(number, ordinal)
            return f"frame {number} is damaged"
        if (frame.height, frame.width) != self.video.stored_size or frame.format.name != self.video.pixel_format:
            return f"frame {number} is {frame.width}x{frame.height} {frame.format.name}"
        if ordinal < 0:
            return f"frame {number} cannot be traced to its packet"
        if not self.starts or (ordinal in self.keys and number - self.starts[-1] >= _APART):
            self.finish()
            self.starts.append(number)
        if number - self.starts[-1] < _PROBED:
            self.sums[number] = self._sum(frame)
        self.packets.append(ordinal)
        self.times.append(frame.pts)
        self.previous = frame
        return ""

    def _cut(self, number: int, ordinal: int) -> None:
        """Keep only the frames before the first one that was decoded after a damaged frame.

        Such a frame may refer to the damaged one, even if it is shown earlier.
        """
        count = next((at for at, packet in enumerate(self.packets) if packet > ordinal >= 0), len(self.packets))
        del self.packets[count:], self.times[count:]
        self.starts = [start for start in self.starts if start < count]
        self.previous = self.previous if count == number else None

    def finish(self) -> None:
        """Record the last frame as the end of a stretch."""
        if self.previous is not None:
            self.sums[len(self.packets) - 1] = self._sum(self.previous)

    def _sum(self, frame: VideoFrame) -> int:
        planes = Planes(self.video, 1)
        planes.store(0, frame)
        return zlib.crc32(planes.data.data)

    def regular(self) -> bool:
        """Return True if frames are evenly spaced, up to the rounding of the time base."""
        times = [time for time in self.times if time is not None]
        return self.even or len(times) < 3 or (len(times) == len(self.times) and int(np.ptp(np.diff(times))) <= 1)

    def verified(self) -> SeekPoints:
        """The seek points from which decoding, as in training, gives the frames of the sequential pass."""
        if len(set(self.packets)) < len(self.packets):
            raise UnusableError("its frames cannot be identified: one packet gave several frames")
        video = replace(self.video, packet=np.asarray(self.packets, np.int32))
        points: list[tuple[int, int, int, PacketId]] = []
        for start, end in zip(self.starts, [*self.starts[1:], len(self.packets)], strict=True):
            ordinal = self.packets[start] if start else 0
            landing = self.keys[ordinal]
            for stamp in self._stamps(landing) if start else (0,):
                point = (start, ordinal, stamp, landing)
                if self._reproduces(replace(video, points=make_points([*points, point])), start, end):
                    points.append(point)
                    break
            if not points:
                raise UnusableError("decoding it twice gives different frames")
        return make_points(points)

    def _stamps(self, landing: PacketId) -> list[int]:
        """The timestamps to try to seek to.

        MP4 and Matroska are searched by pts, AVI by dts, and MPEG streams only approximately.
        """
        times = [time for time in landing[1:3] if time is not None]
        return list(dict.fromkeys([*times, *(time - self.second for time in times[-1:])]))

    def _reproduces(self, video: Video, start: int, end: int) -> bool:
        numbers = np.asarray([number for number in range(start, end) if number in self.sums], np.int64)
        try:
            frames = decode(video, numbers)
        except DecodeError:
            return False
        return all(
            zlib.crc32(data.data) == self.sums[int(number)] for data, number in zip(frames.data, numbers, strict=True)
        )
