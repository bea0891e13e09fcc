"""source: a file's packets by number, and the frames that come of them.

A container's timestamps cannot be trusted (AVI has none for most packets, edit lists move them), so every packet is
numbered in the order it is read, and FFmpeg hands that number through to the frame (AV_CODEC_FLAG_COPY_OPAQUE).
Wherever decoding begins, a frame is known by the number of its packet.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame

from vidssl.deadline import Deadline
from vidssl.files import stat_regular
from vidssl.types import VidsslError

# Codecs whose non-reference frames no other frame needs. HEVC's may be read by a higher temporal layer and VP9's move
# its probabilities on, so those are always decoded.
_DROPPABLE = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})

# Formats whose headers say all that a decoder needs. FFmpeg would still decode their first frames on opening, to guess
# at frame rates, which takes up to 3 ms a file; with this it does not.
_COMPLETE = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_UNPROBED = {"probesize": "32"}

# The largest picture, 8192 x 8192 pixels: a header of a few bytes can ask for gigabytes.
PIXELS = 2**26
_BOUNDED = {"max_pixels": str(PIXELS)}

# FFmpeg takes a global lock while it opens a decoder; more openers at once only wait for each other.
_OPENING = threading.BoundedSemaphore(3)

PacketId = tuple[int | None, int | None, int | None, int]  # what a packet is known by: (pos, pts, dts, size)


class Member(NamedTuple):
    """Where a file lies in an uncompressed archive, in bytes."""

    offset: int
    bytes: int


class DecodeError(VidsslError):
    """A wanted frame did not come. The message names the file, the frame and the reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeekPoints:
    """Places where decoding can begin, ascending; the first is the start of the file.

    frame: int64 [N] first frame number that is right when decoding begins there. packet: int64 [N] number of its
    packet.
    timestamp: int64 [N] what to seek to, in the stream's time base. packet_id: [N] of that packet.
    """

    frame: npt.NDArray[np.int64]
    packet: npt.NDArray[np.int64]
    timestamp: npt.NDArray[np.int64]
    packet_id: tuple[PacketId, ...]

    def before(self, frame: int) -> int:
        """The last point from which `frame` comes out right."""
        return int(np.searchsorted(self.frame, frame, side="right")) - 1

    def match(self, packet: Packet[Any], point: int) -> int:
        """Number of a packet read after seeking to `point`, if it is that point's or an earlier one's; else -1."""
        found = id_of(packet)
        return next((int(self.packet[at]) for at in range(point, -1, -1) if self.packet_id[at] == found), -1)


class PacketReader:
    """The first video stream of a file that is open for decoding in this thread. A context manager.

    Raises DecodeError where there is no video stream, no decoder for it, or its pictures are larger than PIXELS;
    OSError where the file is no regular one; av.FFmpegError where FFmpeg cannot read it; FileTimeoutError, also while it is read,
    behind the thread's Deadline.
    """

    def __init__(self, path: Path, *, member: Member | None = None, container: str = "") -> None:
        """member: of a tar file at `path`. container: FFmpeg's name of the file's format, if known: then nothing is
        decoded on opening.
        """
        found = stat_regular(path)
        self._deadline = Deadline.enter(path, found.st_size if member is None else member.bytes)
        try:
            self._open(path, member, container)
        except BaseException:
            self._deadline.leave()
            raise

    def _open(self, path: Path, member: Member | None, container: str) -> None:
        options = _UNPROBED if container in _COMPLETE else {}
        place = os.fspath(path)
        if member is not None:  # FFmpeg reads it in place, with no Python between
            place = f"subfile,,start,{member.offset},end,{member.offset + member.bytes},,:{place}"
        seconds = None if isinf(self._deadline.left) else max(self._deadline.left, 0.0)
        with _OPENING:
            try:  # FFmpeg asks for the time whenever it reads
                self.container = av.open(
                    place, options=_BOUNDED, container_options=options, timeout=seconds, metadata_errors="replace"
                )
            except av.error.ExitError as error:
                raise self._deadline.timeout_error() from error
        streams = [
            stream for stream in self.container.streams.video if not stream.disposition & Disposition.attached_pic
        ]
        if not streams or streams[0].codec_context is None:
            self.container.close()
            raise DecodeError(
                f"{path}: {'no decoder for its video stream in this FFmpeg' if streams else 'no video stream'}"
            )
        self.stream, self._dropping = streams[0], False
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if width * height > PIXELS:
            self.container.close()
            raise DecodeError(
                f"{path}: its pictures are {width}x{height}, and at most {PIXELS} pixels are decoded; make them smaller"
            )
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all
        self.codec = self.stream.codec_context
        self.codec.thread_count = 1
        self.codec.thread_type = "NONE"
        self.codec.copy_opaque = True
        self.codec.options = _BOUNDED
        self.droppable = self.codec.name in _DROPPABLE
        # AVI may pack a B-frame into the packet before its own; undone, every frame has its own packet and can be left
        # out alone.
        self._unpack = (
            BitStreamFilterContext("mpeg4_unpack_bframes", self.stream) if self.codec.name == "mpeg4" else None
        )

    def __enter__(self) -> PacketReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()
        self._deadline.leave()

    def packets(self, points: SeekPoints | None = None, point: int = 0) -> Iterator[tuple[int, Packet[Any]]]:
        """(number, packet) from seek point `point` on, or from the start."""
        sought = points if point else None
        if sought is not None:
            self.container.seek(int(sought.timestamp[point]), stream=self.stream)
        number = 0
        for packet in self._demuxed():
            if not packet.size:
                continue  # the end of the file, or an empty packet: to the decoder both would mean the end
            if sought is not None:
                number = sought.match(packet, point)
                if number < 0:
                    continue  # a seek in a stream without an index (MPEG program and transport streams) only comes near
                sought = None
            # A list, because PyAV files the object under its id(): equal small integers of two threads would be one.
            packet.opaque = [number]
            yield number, packet
            number += 1

    def _demuxed(self) -> Iterator[Packet[Any]]:
        try:
            for packet in self.container.demux(self.stream):
                self._deadline.check()
                yield packet
        except av.error.ExitError as error:
            raise self._deadline.timeout_error() from error

    def frames(self, packet: Packet[Any] | None, *, drop: bool = False) -> list[VideoFrame]:
        """What comes out when `packet` goes in; None empties the decoder. drop: leave it undecoded if no other frame
        needs it.
        """
        if drop != self._dropping:
            self._dropping = drop
            self.codec.skip_frame = "NONREF" if drop else "DEFAULT"
        out = [frame for part in self.parts(packet) for frame in self._decoded(part)]
        return out if packet is not None else out + self._decoded(None)

    def _decoded(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        out = self.codec.decode(packet)
        self._deadline.add_frames(len(out))
        return out

    def parts(self, packet: Packet[Any] | None) -> list[Packet[Any]]:
        """`packet` as it is decoded, each frame in a packet of its own; None: what is left of the packets before."""
        if self._unpack is None:
            return [packet] if packet is not None else []
        return self._unpack.filter(packet)


def id_of(packet: Packet[Any]) -> PacketId:
    return packet.pos, packet.pts, packet.dts, packet.size


def number_of(coded: VideoFrame | Packet[Any]) -> int:
    """Number of the packet that a frame, or a packet's part, came from; -1 where the decoder did not hand it through."""
    opaque: Any = coded.opaque
    return int(opaque[0]) if opaque else -1
