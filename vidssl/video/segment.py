"""Cuts the packets that some frames need into a small file in memory, without encoding again.

A hardware decoder behind a demuxer (DALI's `decoders.video`) starts at the first packet of its input. Its input is
therefore the packets from the key frame before the window to the last one that a wanted frame needs. Their timestamps
only express their order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet

from vidssl.types import VidsslError
from vidssl.video.bitstream import count_pictures, is_random_access, is_single_picture, may_have_fields, picture_sizes
from vidssl.video.decode import Video, check_numbers
from vidssl.video.packets import DecodeError, PacketReader, number_of

_TICK = Fraction(1, 25)  # an arbitrary frame rate: only the order matters
# MP4 records the number of frames, so DALI need not count them. An edit list would make a demuxer move or drop packets.
_MP4: tuple[str, dict[str, str]] = ("mp4", {"use_editlist": "0"})
_CONTAINERS: dict[str, tuple[str, dict[str, str]]] = {"vp8": ("matroska", {})}  # FFmpeg writes no VP8 into MP4


class SegmentError(VidsslError):
    """The packets of a video cannot form a file of their own. The video can still be decoded from its file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Packets of one video as a file.

    Attributes:
        data: uint8 [bytes], an MP4 file (Matroska for VP8).
        position: int32 [F], for each requested frame, its position among the frames that a sequential decode of `data`
            gives; ascending and unique.
        frames: Number of frames that a sequential decode of `data` gives.
        doubt: Why a decoder may count differently: a packet may be two fields, hold hidden pictures, or lack the
            slice that begins a picture. "" if there is no doubt.
    """

    data: npt.NDArray[np.uint8]
    position: npt.NDArray[np.int32]
    frames: int
    doubt: str


def cut_segment(video: Video, numbers: npt.NDArray[np.int64]) -> Segment:
    """Cut the packets that some frames of a video need.

    A sequential decode of the segment gives, at `position`, bit for bit the frames of a sequential decode of the file.

    Args:
        video: The video.
        numbers: int64 [F], frame numbers within 0..video.frames-1, unique and ascending, as in `decode`.

    Raises:
        SegmentError: A packet has no frame of its own (the second field of a picture, or a hidden one); no key frame
            before the window makes the frames before it unnecessary; the container or the pictures give another size
            than the index; or FFmpeg cannot write the packets to a new file.
        DecodeError: As in `decode`.
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    check_numbers(video, numbers)
    video, lead = video.surroundings()
    numbers = numbers + lead
    last = int(video.packet[numbers].max())
    for point in range(video.points.before(int(numbers[0])), -1, -1):
        try:
            with video.open() as source:
                kept = dict(_needed(video, source, point, last))
                _check_sizes(video, source, kept.values())
                if kept and is_random_access(video.codec, next(iter(kept.values())), source.codec.extradata):
                    return _written(video, source, numbers, kept)
        except (av.FFmpegError, OSError) as error:
            raise DecodeError(f"{video.path}: cutting frames {numbers[0]}..{numbers[-1]} failed: {error}") from error
    raise SegmentError(f"{video.path}: no key frame before frame {numbers[0]} allows decoding to start there")


def _check_sizes(video: Video, source: PacketReader, packets: Iterable[Packet[Any]]) -> None:
    """Check all sizes: a hardware decoder allocates by the container's size and trusts the packets to agree."""
    found = {"container": {(source.codec.height, source.codec.width)}, "pictures": set[tuple[int, int]]()}
    try:
        for packet in packets:
            found["pictures"] |= picture_sizes(video.codec, packet)
    except ValueError as error:
        raise SegmentError(f"{video.path}: {error}") from error
    for what, named in found.items():
        other = next(iter(named - {video.stored_size}), None)
        if other is not None:
            raise SegmentError(
                f"{video.path}: its {what} is {other[1]}x{other[0]}, "
                f"but the index has {video.stored_size[1]}x{video.stored_size[0]}"
            )


def _needed(video: Video, source: PacketReader, point: int, last: int) -> Iterator[tuple[int, Packet[Any]]]:
    """(frame number, packet) from seek point `point` to packet `last`, in decoding order.

    Frames that an open group of pictures shows before the seek point's own frame are left out: they need the previous
    group, and no later frame needs them.
    """
    frame_of = np.full(int(video.packet.max()) + 2, -1, np.int64)
    frame_of[video.packet] = np.arange(video.frames)
    first = int(video.points.frame[point])
    for packet in _parts(source, video, point, last):
        number = number_of(packet)
        frame = int(frame_of[number])
        if frame < 0:
            raise SegmentError(f"{video.path}: packet {number} has no frame of its own")
        if number > last:
            return
        if frame >= first:
            yield frame, packet


def _parts(source: PacketReader, video: Video, point: int, last: int) -> Iterator[Packet[Any]]:
    for number, packet in source.packets(video.points, point):
        yield from source.parts(packet)
        if number > last:
            return
    yield from source.parts(None)


def _written(
    video: Video, source: PacketReader, numbers: npt.NDArray[np.int64], kept: dict[int, Packet[Any]]
) -> Segment:
    shown = np.sort(np.fromiter(kept, np.int64, len(kept)))
    rank = dict(zip(shown.tolist(), range(len(shown)), strict=True))
    lost = np.setdiff1d(numbers, shown)
    if len(lost):
        raise DecodeError(
            f"{video.path}: {len(lost)} of {len(numbers)} frames were not found, among them {lost[0]}; "
            "index the file again"
        )
    delay = max(at - rank[frame] for at, frame in enumerate(kept))  # no frame is shown before it is decoded
    doubt = _doubt(video.codec, source, kept)
    try:
        data = _file(video.codec, source, [(packet, rank[frame] + delay) for frame, packet in kept.items()])
    except (av.FFmpegError, ValueError) as error:  # PyAV raises ValueError if the container cannot hold the codec
        raise SegmentError(f"{video.path}: its packets cannot be written as a file of their own: {error}") from error
    return Segment(data=data, position=np.searchsorted(shown, numbers).astype(np.int32), frames=len(shown), doubt=doubt)


def _file(codec: str, source: PacketReader, packets: list[tuple[Packet[Any], int]]) -> npt.NDArray[np.uint8]:
    """Write packets, given in decoding order with their display positions, to a file in memory."""
    name, options = _CONTAINERS.get(codec, _MP4)
    memory = io.BytesIO()
    with av.open(memory, "w", format=name, options=options) as container:
        stream = container.add_stream_from_template(source.stream)
        stream.time_base = _TICK
        for at, (packet, shown) in enumerate(packets):
            packet.opaque = None
            packet.stream, packet.time_base, packet.duration = stream, _TICK, 1
            packet.pts = None  # so that pts is never below dts in between
            packet.dts, packet.pts = at, shown
            container.mux(packet)
    return np.frombuffer(memory.getbuffer(), np.uint8)


def _doubt(codec: str, source: PacketReader, kept: dict[int, Packet[Any]]) -> str:
    if codec == "h264" and may_have_fields(next(iter(kept.values())), source.codec.extradata):
        return "its pictures may be two fields"
    if codec == "vp9" and not all(is_single_picture(packet) for packet in kept.values()):
        return "some of its packets hold hidden pictures"
    if codec in ("h264", "hevc", "mpeg4"):
        begun = [count_pictures(codec, packet, source.codec.extradata) for packet in kept.values()]
        if begun != [1] * len(begun):
            return f"{sum(begun)} pictures begin in {len(begun)} packets, one after the other"
    return ""
