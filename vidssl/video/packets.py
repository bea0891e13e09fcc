"""Reads the packets of a file by number, and decodes them to frames.

The timestamps of a container are not reliable: AVI has none for most packets, and edit lists move them. Every packet is
therefore numbered in reading order, and FFmpeg passes that number on to the frame (AV_CODEC_FLAG_COPY_OPAQUE). Wherever
decoding begins, the number of its packet identifies a frame. (long because what is opened, sought and compared is one
reader's state)
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidssl.deadline import Deadline
from vidssl.files import stat_regular
from vidssl.remote import RemotePath
from vidssl.remote.file import RemoteFile
from vidssl.types import VidsslError
from vidssl.video.pictures import IMAGE2, Numbering

# Codecs in which no other frame needs a non-reference frame. In HEVC a higher temporal layer may refer to such a frame,
# and in VP9 such a frame updates the probabilities, so these codecs decode every frame.
DROPPABLE = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})

# Formats whose headers hold everything that a decoder needs. On opening, FFmpeg would still decode their first frames
# to guess the frame rate, which takes up to 3 ms per file; this option prevents it.
_COMPLETE = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_UNPROBED = {"probesize": "32"}

# The largest picture, 8192 x 8192 pixels: a header of a few bytes can ask for gigabytes.
PIXELS = 2**26
_BOUNDED = {"max_pixels": str(PIXELS)}
_STRICT = {"err_detect": "explode"}

# FFmpeg holds a global lock while it opens a decoder; more concurrent openers would only wait for each other.
_OPENING = threading.BoundedSemaphore(3)

# Side data of a packet that changes its pictures.
_DECODED_WITH = frozenset({"new_extradata", "palette", "param_change"})

# Far before any packet, in any time base.
_START = -(2**40)

_NO_DECODER = "no decoder for its video stream in this FFmpeg"

PacketId = tuple[int | None, int | None, int | None, int]  # identifies a packet: (pos, pts, dts, size)


class Member(NamedTuple):
    """Position of a file in an uncompressed archive.

    Attributes:
        offset: First byte.
        bytes: Length in bytes.
    """

    offset: int
    bytes: int


class DecodeError(VidsslError):
    """A wanted frame cannot be decoded. The message names the file, the frame and the reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checksums:
    """What the index knows about the bytes of a video, so that changed bytes are noticed.

    A file can change without a new size or modification time. A decoder then may show other frames and report nothing.

    Attributes:
        header: CRC-32 of what the container tells a decoder, as `PacketReader.header`.
        packet: uint32 [packets], CRC-32 of packets that were read while indexing, as `packet_checksum`.
        first: Number of the packet that packet[0] is of. Packets before it are not compared.
    """

    header: int
    packet: npt.NDArray[np.uint32]
    first: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class SeekPoints:
    """Positions where decoding can begin, ascending. The first is the start of the file, or of the part that is used.

    Attributes:
        frame: int64 [N], the first frame number that is correct when decoding begins there.
        packet: int64 [N], the number of its packet.
        timestamp: int64 [N], the timestamp to seek to, in the stream's time base.
        packet_id: [N] or more, the identity of that packet.
    """

    frame: npt.NDArray[np.int64]
    packet: npt.NDArray[np.int64]
    timestamp: npt.NDArray[np.int64]
    packet_id: Sequence[PacketId]

    def before(self, frame: int) -> int:
        """The last point from which `frame` is decoded correctly."""
        return int(np.searchsorted(self.frame, frame, side="right")) - 1

    def match(self, packet: Packet[Any], point: int) -> int:
        """Identify a packet that was read after a seek to `point`.

        Returns:
            The number of the packet if it belongs to that point or an earlier one, else -1.
        """
        found = id_of(packet)
        return next((int(self.packet[at]) for at in range(point, -1, -1) if self.packet_id[at] == found), -1)


def open_container(url: str | RemoteFile, **options: Any) -> InputContainer:
    """Open a media file for reading, with the options of `av.open`. Text that is not UTF-8 does not refuse it.

    Many files hold a title in Latin-1, which PyAV would refuse to decode.
    """
    opened: InputContainer = av.open(url, metadata_errors="replace", **options)
    return opened


# What PyAV raises for the content of a file, beside FFmpeg's errors: text or a value that it cannot convert. Other
# exceptions are errors of a program.
_UNREADABLE = (ArithmeticError, LookupError, RuntimeError, ValueError)


class PacketReader:
    """Reads one video stream of a file. A context manager, used within one thread.

    Args:
        path: The file. Of a folder of frames, the first picture.
        member: Position of the video, if `path` is a tar file.
        container: FFmpeg's name of the file's format, if known. Opening then decodes no frames. IMAGE2 takes the
            pictures that are numbered as `path` is, from it on.
        checksums: What the index knows about the bytes. Each packet is compared before it is given out, and reading
            ends after the last packet that was read while indexing. None compares nothing.
        stream: Number of the stream in the container. None takes the one that `number` names.
        number: Takes this one of the video streams, counted from 0. None takes the one that players take: the default
            one, or else the one that FFmpeg finds best. Attached pictures (cover art) are never taken or counted.
        strict: Raise an error at any damage that the decoder notices, where it would otherwise hide it. Only for codecs
            whose packets may be dropped, and for pictures.

    Attributes:
        stream: The stream.
        numbering: How the pictures of a folder of frames are named; None for a file.
        videos: All video streams, except attached pictures.

    Raises:
        DecodeError: There is no video stream, FFmpeg has no decoder for it, its pictures are larger than PIXELS, or the
            bytes have changed since they were indexed. Reading raises this too.
        OSError: The path is not a regular file.
        av.FFmpegError: FFmpeg cannot read the file.
        FileTimeoutError: The thread's Deadline has passed. Reading raises this too.
    """

    def __init__(
        self,
        path: Path,
        *,
        member: Member | None = None,
        container: str = "",
        checksums: Checksums | None = None,
        stream: int | None = None,
        number: int | None = None,
        strict: bool = False,
    ) -> None:
        self._path = path
        self._known: memoryview | None = None  # the checksums of packets
        self._begin = 0  # number of the first packet whose checksum is known
        if checksums is not None:
            sums: Any = checksums.packet
            self._known, self._begin = memoryview(sums), checksums.first
        self.numbering = Numbering.of(path) if container == IMAGE2 else None
        found = stat_regular(path)
        self._deadline = Deadline.enter(path, found.st_size if member is None else member.bytes)
        try:
            self._open(path, member or Member(0, found.st_size), container, packed=member is not None)
            self._take(path, stream, number)
            if strict and (self.droppable or self.numbering is not None):
                self.codec.options = _BOUNDED | _STRICT
            if checksums is not None and self.header() != checksums.header:
                self.container.close()
                raise self._changed("its headers have")
        except BaseException:
            self._deadline.leave()
            raise

    def _open(self, path: Path, place: Member, container: str, *, packed: bool) -> None:
        options = dict(_UNPROBED) if container in _COMPLETE or self.numbering is not None else {}
        url: str | RemoteFile = os.fspath(path)
        form = None
        if self.numbering is not None:
            url, form = self.numbering.pattern, IMAGE2
            options |= {
                "pattern_type": "sequence",
                "start_number": str(self.numbering.first),
                "start_number_range": "1",
            }
        if isinstance(path, RemotePath):
            url = path.part(*place)
            options["protocol_whitelist"] = "data"  # a playlist must not make FFmpeg open other URLs, or files
        elif packed:  # FFmpeg reads the member directly, without Python in between
            url = f"subfile,,start,{place.offset},end,{place.offset + place.bytes},,:{url}"
        seconds = None if isinf(self._deadline.left) else max(self._deadline.left, 0.0)
        with _OPENING:
            try:  # FFmpeg checks the timeout at every read
                self.container = open_container(
                    url, format=form, options=_BOUNDED, container_options=options, timeout=seconds
                )
            except av.error.ExitError as error:
                raise self._deadline.timeout_error() from error
            except _UNREADABLE as error:
                self._refuse(error)

    def _take(self, path: Path, index: int | None, number: int | None) -> None:
        """Choose the stream, and set up its decoder."""
        self.videos = [one for one in self.container.streams.video if not one.disposition & Disposition.attached_pic]
        stream = self._chosen(index, number)
        if stream is None or stream.codec_context is None:
            self.container.close()
            raise DecodeError(f"{path}: {self._lacks(index, number) if stream is None else _NO_DECODER}")
        self.stream = stream
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if width * height > PIXELS:
            self.container.close()
            raise DecodeError(
                f"{path}: its pictures are {width}x{height}; the limit is {PIXELS} pixels; scale the video down"
            )
        for other in self.container.streams:
            if other is not self.stream:
                other.discard = Discard.all
        self._decode_with(stream.codec_context)

    def _decode_with(self, codec: VideoCodecContext) -> None:
        self.codec, self._dropping = codec, False
        self.codec.thread_count = 1
        self.codec.thread_type = "NONE"
        self.codec.copy_opaque = True
        self.codec.options = _BOUNDED
        self.droppable = self.codec.name in DROPPABLE
        # AVI may pack a B-frame into the packet before its own. This filter unpacks it, so that every frame has its own
        # packet and can be skipped alone.
        self._unpack = (
            BitStreamFilterContext("mpeg4_unpack_bframes", self.stream) if self.codec.name == "mpeg4" else None
        )

    def _chosen(self, index: int | None, number: int | None) -> VideoStream | None:
        if index is not None:
            return next((one for one in self.videos if one.index == index), None)
        if number is not None:
            return self.videos[number] if number < len(self.videos) else None
        best: Any = self.container.streams.best("video")
        if best is None or best in self.videos:
            return best if self.videos else None
        defaults = [one for one in self.videos if one.disposition & Disposition.default]
        return next(iter(defaults or self.videos), None)

    def _lacks(self, index: int | None, number: int | None) -> str:
        if index is not None:
            return f"its stream {index} is no video stream; index the file again"
        if number is not None and self.videos:
            return f"stream={number}: its video streams are 0 to {len(self.videos) - 1}"
        return "no video stream"

    def __enter__(self) -> PacketReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()
        # Before 18.1.1, PyAV reads freed memory where demuxing goes on, or a stream is used, after the container is
        # closed (also as a template of `add_stream_from_template`). Without `stream`, that is an AttributeError here.
        del self.stream, self.videos
        self._deadline.leave()

    def renew(self) -> None:
        """Go back to the start, with a decoder that has not decoded anything.

        The next read must seek. A flushed decoder would still know parameter sets that came with earlier packets.
        """
        self.container.seek(_START, stream=self.stream)  # resets also what a seek in a damaged table leaves as it is
        with av.open(io.BytesIO(), "w", format="null") as unused:
            stream = unused.add_stream_from_template(self.stream, opaque=True)
            BitStreamFilterContext("null", self.stream, stream)  # copies what the template leaves out, as the codec tag
            self._decode_with(stream.codec_context)

    def header(self) -> int:
        """CRC-32 of what the container tells a decoder. It may depend on whether `container` was given."""
        codec = self.codec
        try:
            tag = codec.codec_tag
        except UnicodeDecodeError:  # PyAV reads only ASCII
            tag = ""
        told = (codec.name, tag, codec.width, codec.height, codec.pix_fmt, codec.bits_per_coded_sample)
        return zlib.crc32(codec.extradata or b"", zlib.crc32(repr(told).encode()))

    def packets(self, points: SeekPoints | None = None, point: int = 0) -> Iterator[tuple[int, Packet[Any]]]:
        """Yield (number, packet) from seek point `point` on, or from the start.

        Raises:
            DecodeError: A packet has other bytes than when it was indexed.
        """
        end = None if self._known is None else self._begin + len(self._known)
        sought = points if points is not None and points.packet[point] else None
        if sought is not None:
            self.container.seek(int(sought.timestamp[point]), stream=self.stream)
        number = 0
        for packet in self._demuxed():
            if not packet.size:
                continue  # the end of the file or an empty packet; a decoder takes both as the end
            if sought is not None:
                number = sought.match(packet, point)
                if number < 0:
                    continue  # a seek without an index (MPEG program or transport stream) is only approximate
                sought = None
            if number == end:
                return
            yield number, self._checked(packet, number)
            number += 1

    def pictures(self, numbers: Iterable[int]) -> Iterator[tuple[int, Packet[Any]]]:
        """Yield (number, packet) for some pictures of a folder of frames. No other picture is read.

        Args:
            numbers: Their numbers, counted from 0, in any order.

        Raises:
            DecodeError: As `packets`, or a picture is missing.
        """
        packets, following = self._demuxed(), 0
        for number in numbers:
            try:
                if number != following:
                    self.container.seek(number, stream=self.stream)
                packet = next(packets)
            except av.FFmpegError as error:
                raise self._unread(number) from error
            if not packet.size:
                raise self._unread(number)
            yield number, self._checked(packet, number)
            following = number + 1

    def _checked(self, packet: Packet[Any], number: int) -> Packet[Any]:
        """A packet that knows its number, compared with its checksum."""
        known, begin = self._known, self._begin
        if known is not None and number >= begin and packet_checksum(packet) != known[number - begin]:
            raise self._changed(f"packet {number} has")
        # A list, because PyAV keys the object by its id(), and equal small integers in two threads share one id.
        packet.opaque = [number]
        return packet

    def _unread(self, number: int) -> DecodeError:
        assert self.numbering is not None
        faults = filter(None, map(self.numbering.fault, range(number + 1)))  # FFmpeg reads none after a missing one
        reason = next(faults, f"{self.numbering.name(number)} cannot be read")
        return DecodeError(f"{self._path.parent}: {reason}; restore the picture, or index the folder again")

    def _refuse(self, error: Exception) -> NoReturn:
        """Raise an error of PyAV about the content of the file, with the file's name. FFmpeg's errors have one."""
        if isinstance(error, av.FFmpegError | VidsslError):
            raise error
        raise DecodeError(f"{self._path}: PyAV cannot read it: {type(error).__name__}: {error}") from error

    def _changed(self, what: str) -> DecodeError:
        return DecodeError(f"{self._path}: {what} other bytes than when it was indexed; index it again")

    def _demuxed(self) -> Iterator[Packet[Any]]:
        try:
            for packet in self.container.demux(self.stream):
                self._deadline.check()
                yield packet
                _ = self.stream  # fails if the container was closed meanwhile: see __exit__
        except av.error.ExitError as error:
            raise self._deadline.timeout_error() from error
        except _UNREADABLE as error:
            self._refuse(error)

    def frames(self, packet: Packet[Any] | None, *, drop: bool = False) -> list[VideoFrame]:
        """Decode a packet and return the frames that the decoder outputs.

        Args:
            packet: The packet. None flushes the decoder.
            drop: Skip decoding the packet if no other frame needs it.
        """
        if drop != self._dropping:
            self._dropping = drop
            self.codec.skip_frame = "NONREF" if drop else "DEFAULT"
        out = [frame for part in self.parts(packet) for frame in self._decoded(part)]
        return out if packet is not None else out + self._decoded(None)

    def _decoded(self, packet: Packet[Any] | None) -> list[VideoFrame]:
        try:
            out = self.codec.decode(packet)
        except _UNREADABLE as error:
            self._refuse(error)
        self._deadline.add_frames(len(out))
        return out

    def parts(self, packet: Packet[Any] | None) -> list[Packet[Any]]:
        """The packets that the decoder receives for `packet`, one per frame.

        None returns the rest of the earlier packets.
        """
        if self._unpack is None:
            return [packet] if packet is not None else []
        try:
            return self._unpack.filter(packet)
        except _UNREADABLE as error:
            self._refuse(error)


def packet_checksum(packet: Packet[Any]) -> int:
    """CRC-32 of a packet's bytes, and of the side data that changes how they are decoded."""
    found = zlib.crc32(packet)
    for side in packet.iter_sidedata():
        if side.data_type in _DECODED_WITH:
            found = zlib.crc32(side, found)
    return found


def is_steered(packet: Packet[Any]) -> bool:
    """Return True if a packet comes with side data that changes how it is decoded."""
    return any(side.data_type in _DECODED_WITH for side in packet.iter_sidedata())


def id_of(packet: Packet[Any]) -> PacketId:
    return packet.pos, packet.pts, packet.dts, packet.size


def number_of(coded: VideoFrame | Packet[Any]) -> int:
    """Number of the packet that a frame or a packet came from; -1 if the decoder did not pass it on."""
    opaque: Any = coded.opaque
    return int(opaque[0]) if opaque else -1
