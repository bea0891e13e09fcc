"""Decodes the frames of a window by number.

The index records the packet of each frame, so every decoded frame is identified exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidssl.files import stat_regular
from vidssl.types import ColorSpace, Frames, planar_shape
from vidssl.video.packets import DROPPABLE, Checksums, DecodeError, Member, PacketReader, SeekPoints, number_of
from vidssl.video.pictures import IMAGE2

PLANAR = frozenset({"yuv420p", "yuvj420p"})
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Around(NamedTuple):
    """The frames around an excerpt of a file, as far as decoding the excerpt needs them.

    Attributes:
        packet: int32 [F], the number of each frame's packet, as in `Video`: of the excerpt and of the frames around it.
        lead: Number of these frames that come before the excerpt.
    """

    packet: npt.NDArray[np.int32]
    lead: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Video:
    """What decoding needs about one file, or an excerpt of it, from a row of the index.

    Attributes:
        path: The file to open. Of a folder of frames, the first picture.
        bytes: Size when it was indexed: of the member if there is one, of all pictures of a folder, else of the file.
        mtime_ns: Modification time of the file when it was indexed, in nanoseconds.
        member: Position of the video in the file, if `path` is a tar.
        stream: Number of the video's stream in the container.
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec.
        pixel_format: FFmpeg's name of the pixel format as decoded.
        full_range: True if the planes use the full range 0..255.
        size: (height, width) in pixels, upright.
        stored_size: (height, width) in pixels, as decoded.
        rotation: Clockwise rotation in degrees that makes the picture upright.
        mirror: True if the picture is mirrored left to right after the rotation.
        space: Colour space of the upright planes.
        packet: int32 [frames], the number of each frame's packet, in presentation order.
        points: Where decoding can begin. Of an excerpt, the first one lies before it and has a number below 0.
        droppable: True if frames that no other frame needs may be skipped. In a damaged file they may matter to others.
        checksums: What the file's bytes must be; None only while it is scanned.
        around: The frames around it, if it is an excerpt.
    """

    path: Path
    bytes: int
    mtime_ns: int
    member: Member | None
    stream: int
    container: str
    codec: str
    pixel_format: str
    full_range: bool
    size: tuple[int, int]
    stored_size: tuple[int, int]
    rotation: int
    mirror: bool
    space: ColorSpace
    packet: npt.NDArray[np.int32]
    points: SeekPoints
    droppable: bool
    checksums: Checksums | None
    around: Around | None = None

    @property
    def damaged(self) -> bool:
        """True if its decoder hides damage."""
        return self.codec in DROPPABLE and not self.droppable

    @property
    def frames(self) -> int:
        return len(self.packet)

    @cached_property
    def holds(self) -> npt.NDArray[np.uint8]:
        """[packets], for each up to the last that is used, and one more: 1 if it has a frame of its own, else 0."""
        found = np.zeros(int(self.packet.max()) + 2, np.uint8)
        found[self.packet] = 1
        return found

    def surroundings(self) -> tuple[Video, int]:
        """(the video with the frames around it, number of its own frame 0 in that). Of a whole file, itself and 0."""
        if self.around is None:
            return self, 0
        packet, lead = self.around
        points = replace(self.points, frame=self.points.frame + lead)
        return replace(self, packet=packet, points=points, around=None), lead

    def open(self) -> PacketReader:
        """Open the file. What is read is compared with what was indexed; errors are those of `PacketReader`."""
        return PacketReader(
            self.path, member=self.member, container=self.container, checksums=self.checksums, stream=self.stream
        )


Allocate = Callable[[tuple[int, ...]], npt.NDArray[np.uint8]]  # returns memory of the given shape


def _pageable(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


class Decoder(Protocol):
    """Turns (video, frame numbers) into frames: the CPU decoder below, a cache, or a hardware decoder."""

    def __call__(self, video: Video, numbers: npt.NDArray[np.int64]) -> Frames: ...


def decode(video: Video, numbers: npt.NDArray[np.int64], *, allocate: Allocate = _pageable) -> Frames:
    """Decode frames of a video on the CPU.

    Args:
        video: The video.
        numbers: int64 [F], frame numbers within 0..video.frames-1, unique and ascending.
        allocate: Returns memory of a given shape for the frames.

    Returns:
        Frames with data uint8 [F, 3 * rows / 2, cols]. Rows and cols are even: an odd last row or column is repeated.

    Raises:
        DecodeError: A frame cannot be decoded, the numbers are invalid, or the file has changed since it was indexed.
    """
    planes = Planes(video, len(numbers), allocate)
    decode_to(planes, video, numbers)
    return Frames(data=planes.data, number=np.asarray(numbers, np.int64), size=video.size, space=video.space)


class Sink(Protocol):
    """Receives decoded frames in any order; `slot` is the index of the frame in the requested numbers."""

    def store(self, slot: int, frame: VideoFrame) -> None: ...


def decode_to(sink: Sink, video: Video, numbers: npt.NDArray[np.int64]) -> None:
    """Pass each of the frames `numbers` to `sink` once. Arguments and errors are those of `decode`."""
    numbers = np.asarray(numbers, dtype=np.int64)
    check_numbers(video, numbers)
    missing = {int(packet): slot for slot, packet in enumerate(video.packet[numbers])}
    named = numbers
    video, lead = video.surroundings()
    numbers = numbers + lead
    try:
        for asked in _passes(video, numbers):
            with video.open() as source:
                for frame in decoded(video, source, asked):
                    slot = missing.pop(number_of(frame), None)
                    if slot is not None:
                        sink.store(slot, frame)
                        if not missing:
                            break
    except (av.FFmpegError, OSError) as error:
        raise DecodeError(f"{video.path}: decoding frames {named[0]}..{named[-1]} failed: {error}") from error
    if missing:
        lost = ", ".join(str(named[slot]) for slot in sorted(missing.values())[:5])
        raise DecodeError(
            f"{video.path}: {len(missing)} of {len(named)} frames were not decoded, among them {lost}; "
            "index the file again"
        )


def check_numbers(video: Video, numbers: npt.NDArray[np.int64]) -> None:
    """Check the frame numbers, and that the file is the one that was indexed.

    Raises:
        DecodeError: The numbers are invalid, or the file is missing or has changed.
    """
    if (
        numbers.ndim != 1
        or not len(numbers)
        or numbers[0] < 0
        or numbers[-1] >= video.frames
        or bool((np.diff(numbers) <= 0).any())
    ):
        raise DecodeError(
            f"decode: numbers={numbers.tolist()!r}: pass ascending, unique frame numbers "
            f"within 0..{video.frames - 1} of {video.path}"
        )
    try:
        found = stat_regular(video.path)
    except OSError as error:
        raise DecodeError(
            f"{video.path}: {error.strerror}; index the folder again, or load the index with root="
        ) from error
    # for a member, only the time of the tar is compared; of a folder of frames, that of the first picture
    size = video.bytes if video.member is not None or video.container == IMAGE2 else found.st_size
    if (size, found.st_mtime_ns) != (video.bytes, video.mtime_ns):
        raise DecodeError(f"{video.path}: changed since it was indexed; index the folder again")


def _passes(video: Video, numbers: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The frames to ask for, in one pass or more.

    What a decoder makes of a damaged frame may depend on any other packet. Damaged videos are therefore decoded as they
    were while indexing: from each seek point up to the next one.
    """
    if not video.damaged:
        return [numbers]
    ends = [*video.points.frame[1:].tolist(), video.frames]
    points = dict.fromkeys(video.points.before(int(number)) for number in numbers)
    return [np.arange(int(video.points.frame[point]), ends[point]) for point in points]


def decoded(
    video: Video,
    source: PacketReader,
    numbers: npt.NDArray[np.int64],
    begin: Callable[[Packet[Any]], None] | None = None,
    points: SeekPoints | None = None,
) -> Iterator[VideoFrame]:
    """Yield at least the frames `numbers`, in any order. Others are skipped where that does not affect these.

    Calls `begin` with the first packet before it is decoded. Decoding begins at one of `points`, or at one of the
    video's.
    """
    for packet, drop in _wanted(video, source, numbers, video.points if points is None else points):
        if begin is not None:
            begin(packet)
            begin = None
        yield from source.frames(packet, drop=drop)
    yield from source.frames(None)


def _wanted(
    video: Video, source: PacketReader, numbers: npt.NDArray[np.int64], points: SeekPoints
) -> Iterator[tuple[Packet[Any], bool]]:
    """Yield the packets that the frames `numbers` need, and whether a packet may be dropped."""
    if source.numbering is not None:  # each picture is a frame of its own
        for _, packet in source.pictures(video.packet[numbers].tolist()):
            yield packet, False
        return
    # Role of each packet: 0 has no frame of its own (the second field of a picture), 1 has an unwanted frame, 2 has a
    # wanted frame. Only packets of role 1 may be dropped. The decoder may be flushed only after the last packet of role
    # 2 and the packets of role 0 that follow it.
    wanted = video.packet[numbers]
    role, last = bytearray(video.holds.tobytes()), int(wanted.max())
    np.frombuffer(role, np.uint8)[wanted] = 2
    for number, packet in source.packets(points, points.before(int(numbers[0]))):
        if number > last and (number >= len(role) or role[number]):
            return
        yield packet, video.droppable and role[number] == 1


def check_frame(video: Video, frame: VideoFrame) -> None:
    """Check that a frame is whole, and has the size and pixel format of the video.

    Raises:
        DecodeError: The decoder reports damage, or the frame has another size or format.
    """
    if frame.is_corrupt:
        raise DecodeError(f"{video.path}: the decoder reports that a frame is damaged; index the file again")
    if (frame.height, frame.width) != video.stored_size or frame.format.name != video.pixel_format:
        raise DecodeError(
            f"{video.path}: a frame is {frame.width}x{frame.height} {frame.format.name}, the first was "
            f"{video.stored_size[1]}x{video.stored_size[0]} {video.pixel_format}; split the video where it changes"
        )


def upright(video: Video, plane: Any) -> npt.NDArray[np.uint8]:
    """View an 8-bit plane of a decoded frame as uint8 [H, W], upright.

    Args:
        video: The video, of which the rotation and the mirroring are used.
        plane: One of the planes of PyAV's frame, which have the buffer protocol, but its stubs lack it.
    """
    picture = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    if video.rotation:
        picture = np.rot90(picture, -video.rotation // 90)
    return picture[:, ::-1] if video.mirror else picture


class Planes:
    """Planar YUV 4:2:0 memory for F frames, filled one by one.

    Attributes:
        data: uint8 [F, 3 * rows / 2, cols].
        parts: Views of the Y, U and V planes.
    """

    def __init__(self, video: Video, count: int, allocate: Allocate = _pageable) -> None:
        self._video = video
        shape = planar_shape(count, video.size)
        rows, cols = shape[1] // 3 * 2, shape[2]
        self.data = allocate(shape)
        chroma = self.data.reshape(count, 6, rows * cols // 4)
        self.parts = (
            self.data[:, :rows],
            chroma[:, 4].reshape(count, rows // 2, cols // 2),  # splitting an axis: still a view
            chroma[:, 5].reshape(count, rows // 2, cols // 2),
        )
        self._convert = None if video.pixel_format in PLANAR else VideoReformatter()

    def store(self, slot: int, frame: VideoFrame) -> None:
        """Copy a frame to its slot, upright.

        Raises:
            DecodeError: The frame has another size or pixel format than the video.
        """
        video = self._video
        check_frame(video, frame)
        if self._convert is not None:
            frame = _to_planar(self._convert, frame, video.full_range)
        for target, plane in zip(self.parts, frame.planes, strict=True):
            picture = upright(video, plane)
            height, width = picture.shape
            target[slot, :height, :width] = picture
        luma, (height, width) = self.parts[0][slot], video.size
        if height % 2:
            luma[height] = luma[height - 1]
        if width % 2:
            luma[:, width] = luma[:, width - 1]


class Planar:
    """Shows decoded frames of a video as planes of YUV 4:2:0, upright, in the decoder's memory if they lie there so."""

    def __init__(self, video: Video) -> None:
        self._video = video
        as_decoded = video.pixel_format in PLANAR and not video.rotation and not video.mirror
        self._upright = None if as_decoded else Planes(video, 1)  # rotates or converts other frames first

    def __call__(self, frame: VideoFrame) -> tuple[Any, Any, Any, int, int]:
        """Returns the planes Y, U and V as buffers, and the bytes of a line of Y and of U. Valid until the next frame.

        Raises:
            DecodeError: The frame has another size or pixel format than the video.
        """
        if self._upright is None:
            check_frame(self._video, frame)
            y, u, v = frame.planes
            return y, u, v, y.line_size, u.line_size
        self._upright.store(0, frame)
        luma, cb, cr = (part[0] for part in self._upright.parts)
        return luma, cb, cr, luma.shape[1], cb.shape[1]


def _to_planar(convert: VideoReformatter, frame: VideoFrame, full_range: bool) -> VideoFrame:
    """Convert any pixel format to yuv420p. YUV keeps its matrix and range; RGB and grey become BT.601."""
    form = frame.format
    span = ColorRange.JPEG if full_range else ColorRange.MPEG
    if is_yuv(form):
        return convert.reformat(
            frame, format="yuv420p", interpolation=_EXACT, src_color_range=span, dst_color_range=span, threads=1
        )
    return convert.reformat(
        frame, format="yuv420p", interpolation=_EXACT, dst_colorspace=Colorspace.ITU601, dst_color_range=span, threads=1
    )


def is_yuv(form: VideoFormat) -> bool:
    """Return True if the pixel format has luma and chroma (not RGB, a palette or grey)."""
    return not (form.is_rgb or form.has_palette) and sum(1 for part in form.components if not part.is_alpha) == 3
