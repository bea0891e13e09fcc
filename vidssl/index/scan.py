"""Scans one file to one row of the index.

Every frame is decoded once, in sequence, then once more from each place where decoding might begin (`verify`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame

from vidssl.deadline import Deadline, FileTimeoutError
from vidssl.files import stat_regular
from vidssl.index.boxes import lacks_moov, max_samples
from vidssl.index.excerpts import FrameTimes
from vidssl.index.frames import size_of
from vidssl.index.look import look_of
from vidssl.index.parts import Parts
from vidssl.index.row import make_video, member_of
from vidssl.index.transient import NOT_READ, machine_reason
from vidssl.index.verify import FrameTaker, Memory, UnusableError, Watch
from vidssl.remote import RemotePath
from vidssl.video.decode import PLANAR, Video
from vidssl.video.packets import (
    Checksums,
    DecodeError,
    Member,
    PacketId,
    PacketReader,
    id_of,
    is_steered,
    number_of,
    packet_checksum,
)
from vidssl.video.pictures import IMAGE2, exif_orientation, is_cut
from vidssl.video.times import TIMELESS

_LANDING = ("pos", "pts", "dts", "size")


class KeepsFrames(Protocol):
    """A store that keeps frames while they are decoded for the index: vidssl.FrameStore."""

    def keeper(self, video: Video, first_packet: int, checksum: int) -> FrameTaker | None: ...
    def flush(self) -> None: ...


def scan(
    path: Path,
    offset: int | None = None,
    size: int | None = None,
    refused: str = "",
    seconds: float | None = None,
    number: int | None = None,
    frames: bool = False,
    *,
    whole: bool = True,
    store: KeepsFrames | None = None,
) -> dict[str, Any]:
    """Scan a file.

    Args:
        path: The file. Of a folder of frames, the first picture.
        offset: For a member of a tar at `path`, its first byte.
        size: For a member, its length in bytes.
        refused: Why the file must not be opened, if that is already certain.
        seconds: Time limit in seconds, as in `Deadline`.
        number: The video stream to take, counted from 0; None takes the one that players take.
        frames: True for a folder of frames.
        store: Keeps the decoded frames.
        whole: Decode every frame. False decodes only the first one, and leaves out the columns that need all frames.

    Returns:
        The columns of `vidssl.index.schema.SCHEMA` that the file itself decides, and as "times" the FrameTimes of its
        frames if all were decoded. If the file cannot be used, `status` gives the reason.
    """
    row = unusable("ok") | {"number": number}
    try:
        found = stat_regular(path)
        total = size_of(path, found.st_size, frames=frames)
        place = Member(offset or 0, total if size is None else size)
        row |= {"offset": offset, "bytes": place.bytes, "mtime_ns": found.st_mtime_ns}
        if refused:
            raise UnusableError(refused)
        if frames:
            row["container"] = IMAGE2
        if not 0 <= place.offset <= place.offset + place.bytes <= total:
            end = place.offset + place.bytes
            raise UnusableError(f"its tar has {found.st_size} bytes, but the header places it at {place.offset}..{end}")
        with Deadline.enter(path, place.bytes, seconds):
            _refuse_at_sight(path, place)
            row |= _read(path, row, store) if whole else _read_first(path, row)
    except UnusableError as reason:
        row["status"] = str(reason)
    except FileTimeoutError as error:
        row["status"] = f"{NOT_READ}{error.reason}"
    except (DecodeError, av.FFmpegError, OSError, MemoryError) as error:
        machine = machine_reason(error, path)
        row["status"] = refused or (f"{NOT_READ}{machine}" if machine else _file_reason(error, path))
    return row


def _file_reason(error: Exception, path: Path) -> str:
    if isinstance(error, av.FFmpegError):
        return f"FFmpeg cannot open it: {error.strerror}"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error).removeprefix(f"{path}: ")


def unusable(status: str) -> dict[str, Any]:
    """A row for a file about which only `status` is certain."""
    return {"status": status, "note": "", "frames": 0, "packet": [], "checksums": [], "points": [], "motion": []}


def _refuse_at_sight(path: Path, place: Member) -> None:
    if path.name.startswith("._"):
        raise UnusableError("not a video: macOS resource fork")
    if place.bytes == 0:
        raise UnusableError("empty file")
    with _opened(path, place) as file:
        place = Member(0, place.bytes) if isinstance(path, RemotePath) else place
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


def _opened(path: Path, place: Member) -> Any:
    """A file, or of a remote one only the part that is read."""
    return path.part(*place) if isinstance(path, RemotePath) else path.open("rb")


class _HiddenDamage(Exception):
    """The decoder found damage that it would hide if it were not strict."""


def _read(path: Path, about: dict[str, Any], store: KeepsFrames | None) -> dict[str, Any]:
    with suppress(_HiddenDamage), ExitStack() as stack:
        return _read_all(path, about, store, stack, strict=True)
    with ExitStack() as stack:
        return _read_all(path, about, store, stack, strict=False)


def _read_all(
    path: Path, about: dict[str, Any], store: KeepsFrames | None, stack: ExitStack, *, strict: bool
) -> dict[str, Any]:
    """stack: at its end, frames that are not finished are given up."""
    with _reader(path, about, strict=strict) as source:
        rate = source.stream.average_rate or source.stream.guessed_rate
        row: dict[str, Any] = {"container": source.container.format.name, "codec": source.codec.name}
        row["stream"] = source.stream.index
        notes, zero = _streams(source), _zero(source)
        tick = source.stream.time_base
        second = int(1 / tick) if tick else 1
        read = _Packets()

        def begin(frame: VideoFrame, number: int) -> Watch:
            picture = look_of(row["codec"], frame, read.turns)
            video = make_video(path, about | row | picture)
            watch = Watch(video, read.keys, second, read.dts if row["container"] == TIMELESS else None, number, picture)
            if store is not None and number == 0:  # a later part is rare, and is kept when it is first asked for
                first = number_of(frame)
                watch.keeper = store.keeper(video, first, read.sums[first])
                if watch.keeper is not None:
                    stack.callback(watch.keeper.drop)
            return watch

        parts = Parts(begin)
        failed = _see_all(source, read, parts, path, strict)
        watch = parts.longest()
        if watch is None or not watch.packets:
            raise UnusableError(f"no frame decodes: {failed or (watch and watch.ended) or 'the stream is empty'}")
        if row["container"] == "gif" and len(watch.packets) == 1:
            raise UnusableError("a still picture, not a video")
        row |= watch.about | {
            "frame_rate": float(rate) if rate else None,
            "start": watch.start if parts.count > 1 else None,
        }
    read.damaged |= not strict
    found = row | _verified(path, about, row, watch, read, notes)
    return found | {"times": FrameTimes(shown=watch.shown(), tick=tick, zero=zero)}


def _see_all(source: PacketReader, read: _Packets, parts: Parts, path: Path, strict: bool) -> str:
    """Show all frames to `parts`. Returns why there are no more, or "" where the file ends."""
    numbering = source.numbering
    try:
        for frame in _sequence(source, read):
            if parts.see(frame):
                return ""
        failed, at = read.ended, len(read.sums)
        if numbering is not None and not failed and (numbering.folder / numbering.name(at)).exists():
            failed = numbering.fault(at)
        if not failed:
            return ""
    except av.FFmpegError as error:
        if machine_reason(error, path):
            raise
        if strict and numbering is None:
            raise _HiddenDamage from error
        failed = f"decoding failed: {error.strerror}"
        if numbering is not None:
            failed = f"{numbering.name(max(len(read.sums) - 1, 0))} is damaged: {error.strerror}"
    parts.end(failed)
    return failed


def _verified(
    path: Path, about: dict[str, Any], row: dict[str, Any], watch: Watch, read: _Packets, notes: list[str]
) -> dict[str, Any]:
    """The columns that need all frames, and seek points that give them again."""
    # as decoding will open it
    with PacketReader(path, member=member_of(about), container=row["container"], stream=row["stream"]) as source:
        checksums = Checksums(header=source.header(), packet=np.asarray(read.sums, np.uint32))
        droppable = source.droppable and not read.damaged
    points, droppable, cut = watch.verified(checksums, droppable, steered=read.steered)
    count = len(watch.packets)
    if watch.keeper is not None:
        watch.keeper.finish()
    notes += _used(watch, cut or watch.ended)
    if row["pixel_format"] not in PLANAR:
        notes.append(f"converted from {row['pixel_format']} to 8-bit 4:2:0 by swscale")
    return {
        "regular": watch.regular(),
        "frames": count,
        "end": None if row["start"] is None else row["start"] + count,
        "packet": watch.packets,
        "checksums": checksums.packet,
        "header_checksum": checksums.header,
        "droppable": droppable,
        "motion": watch.motion.column(count),
        "points": [
            {"frame": frame, "packet": packet, "timestamp": stamp, **dict(zip(_LANDING, landing, strict=True))}
            for frame, packet, stamp, landing in zip(
                points.frame, points.packet, points.timestamp, points.packet_id, strict=True
            )
        ],
        "note": "; ".join(notes),
    }


def _reader(path: Path, about: dict[str, Any], *, strict: bool = False) -> PacketReader:
    container = about.get("container", "")  # known before it is opened only of a folder of frames
    return PacketReader(path, member=member_of(about), number=about["number"], container=container, strict=strict)


def _read_first(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    with _reader(path, about) as source:
        row: dict[str, Any] = {"container": source.container.format.name, "codec": source.codec.name}
        row["stream"] = source.stream.index
        read = _Packets()
        try:
            frame = next(_sequence(source, read), None)
        except av.FFmpegError as error:
            if machine_reason(error, path):
                raise
            raise UnusableError(f"no frame decodes: decoding failed: {error.strerror}") from error
        if frame is None or frame.is_corrupt:
            what = "frame 0 is damaged" if frame is not None else read.ended or "the stream is empty"
            raise UnusableError(f"no frame decodes: {what}")
        row |= look_of(row["codec"], frame, read.turns)
        make_video(path, about | row)  # refuses pictures that are too large
        return row


def _streams(source: PacketReader) -> list[str]:
    """A note on which of several video streams is used."""
    named = []
    for number, one in enumerate(source.videos):
        codec: Any = one.codec_context  # None without a decoder
        named.append(f"{number} ({f'{codec.name} {codec.width}x{codec.height}' if codec else 'of an unknown codec'})")
    if len(named) == 1:
        return []
    used = named.pop(source.videos.index(source.stream))
    return [f"of its video streams, {used} is used, not {', '.join(named)}"]


def _zero(source: PacketReader) -> Fraction:
    """The time that players show as 0:00, in seconds: the earliest one of video and sound."""
    streams = [source.stream, *source.container.streams.audio]
    starts = [one.start_time * one.time_base for one in streams if one.start_time is not None and one.time_base]
    return min(starts, default=Fraction(0))


def _used(watch: Watch, ended: str) -> list[str]:
    """A note on which frames are used, if not all."""
    count, (height, width) = len(watch.packets), watch.video.stored_size
    if watch.start:
        size = f"{width}x{height} {watch.video.pixel_format}"
        used = f"only frames {watch.start} to {watch.start + count - 1} are used, the longest part of one size, {size}"
        return [f"{used}: {ended}" if ended else used]
    return [f"only the first {count} frames are used: {ended}"] if ended else []


@dataclass
class _Packets:
    """The packets that were read.

    Attributes:
        keys: Where decoding might begin, by number.
        sums: The checksum of each.
        dts: The decoding time of each.
        ended: Of a folder of frames, why a picture cannot be used; else "".
        turns: Of a folder of frames, how its pictures are turned by their EXIF data.
        damaged: True if the container calls one of them damaged, or if the decoder hides damage. It may then use a
            frame that otherwise no other frame needs.
        steered: As in `Again`.
    """

    keys: dict[int, PacketId] = field(default_factory=dict)
    sums: list[int] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    ended: str = ""
    turns: set[int] = field(default_factory=set)
    damaged: bool = False
    steered: bool = False


def _sequence(source: PacketReader, read: _Packets) -> Iterator[VideoFrame]:
    """Yield all frames in presentation order, and add the packets to `read`."""
    memory = Memory(source, again=False)
    for number, packet in source.packets():
        read.sums.append(packet_checksum(packet))
        read.dts.append(packet.dts)
        read.damaged |= packet.is_corrupt
        read.steered |= is_steered(packet)
        if source.numbering is not None:
            name = source.numbering.name(number)
            if is_cut(packet):
                read.ended = f"{name} is cut off: its end is missing"
                return
            read.turns.add(exif_orientation(packet))
            if len(read.turns) > 1:
                raise UnusableError(
                    f"{name} is turned otherwise than {source.numbering.name(0)} by its EXIF data; turn all upright"
                )
        if number == 0:
            memory.fill(packet)
        if packet.is_keyframe or number == 0:
            read.keys[number] = id_of(packet)
        for frame in source.frames(packet):
            yield frame
            memory.hold(frame)
    yield from source.frames(None)
