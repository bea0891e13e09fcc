"""Records what decoding a file in sequence gave, and proves that decoding from each seek point gives the same.

A decoder may hide damage without a report, and a key frame may use what was set before it. Each frame's checksum is
therefore compared, from each place where decoding might begin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from vidssl.index.again import Again
from vidssl.index.motion import MotionMeter
from vidssl.index.row import FRAMES, make_points
from vidssl.index.transient import machine_reason
from vidssl.native import kernels
from vidssl.video.decode import Planes, Video, check_frame, decoded
from vidssl.video.packets import Checksums, DecodeError, PacketId, PacketReader, SeekPoints, number_of
from vidssl.video.pictures import IMAGE2
from vidssl.video.times import chunk_times

# Where a frame lasts fewer ticks, a step that is longer by one tick is a frame that is shown longer, not rounding.
_FINE = 4
# Frames between seek points, at least. Closer points would save less decoding than they cost to verify.
_APART = 12
# Frames of a stretch are decoded as in training: all reference frames, and of the others only those that are asked for.
# Asked for are the first frames, which may refer to frames before the seek point, and the last; of pictures, all.
_PROBED = 3

_Point = tuple[int, int, int, PacketId]  # (frame, packet, timestamp, identity of the packet), as in SeekPoints


# These decoders leave the rest of a damaged picture as its memory was, and report nothing.
_UNFILLED = frozenset({"mjpeg", "vp8"})
# Of these, the decoder whose memory may be that of a reference frame, which cannot be filled. The stretch after the
# next point is then compared too, since a picture may show what stood in another stretch.
_LEAVES_REFERENCES = frozenset({"vp8"})
_HELD = 4  # frames after which a decoder has usually stopped referring to a frame
# Frames whose memory is filled at first: in the sequential pass more than a decoder and its caller use at the same
# time; in later passes those that would come from the memory of the sequential pass.
_BUFFERS, _BUFFERS_AGAIN = 10, 3


class Verified(NamedTuple):
    """What `Watch.verified` found.

    Attributes:
        points: The seek points.
        droppable: As in `Video`.
        cut: Why frames were cut, or "".
    """

    points: SeekPoints
    droppable: bool
    cut: str


class _Points:
    """Seek points as they are found. An hour has thousands: showing them copies nothing.

    Args:
        most: Number of points, at most.
    """

    def __init__(self, most: int) -> None:
        self._numbers = np.zeros((3, most), np.int64)  # frame, packet and timestamp of each
        self._ids: list[PacketId] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[_Point]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, at: int) -> _Point:
        frame, packet, stamp = self._numbers[:, at].tolist()
        return frame, packet, stamp, self._ids[at]

    def add(self, point: _Point) -> None:
        self._numbers[:, len(self)] = point[:3]
        self._ids.append(point[3])

    def drop(self) -> None:
        """Take the last point out."""
        self._ids.pop()

    def shown(self, count: int) -> SeekPoints:
        """The first `count` points. Valid until one of them is dropped."""
        frame, packet, stamp = self._numbers[:, :count]
        return SeekPoints(frame=frame, packet=packet, timestamp=stamp, packet_id=self._ids)


class UnusableError(Exception):
    """Why a file is left out."""


class Memory:
    """Changes what a decoder's memory holds, so that a picture which is not all decoded differs between passes.

    Frames of the sequential pass are held for a while, so that the decoder writes over other frames than in later
    passes. Decoders that are known to leave pictures as they were find their memory filled.

    Args:
        source: The reader whose decoder this is about.
        again: True for a pass that is compared with the first one, which fills with another byte.
    """

    def __init__(self, source: PacketReader, *, again: bool) -> None:
        self._source = source
        self._byte, self._buffers = (0x5A, _BUFFERS_AGAIN) if again else (0xA5, _BUFFERS)
        self._filled = source.codec.name in _UNFILLED
        self._held: deque[VideoFrame] = deque()

    def fill(self, packet: Packet[Any]) -> None:
        """Fill the memory of the first frames. Called before `packet`, where decoding begins, is decoded."""
        if self._filled:
            for frame in [frame for _ in range(self._buffers) for frame in self._source.frames(packet)]:
                self._overwrite(frame)

    def hold(self, frame: VideoFrame) -> None:
        """Hold a frame until it is probably no longer needed, and fill its memory then."""
        self._held.append(frame)
        if len(self._held) > _HELD:
            done = self._held.popleft()
            if self._filled:
                self._overwrite(done)

    def _overwrite(self, frame: VideoFrame) -> None:
        frame.make_writable()  # copies what the decoder still refers to
        for plane in frame.planes:
            data: Any = plane  # PyAV's planes have the buffer protocol, but its stubs lack it
            np.frombuffer(data, np.uint8).fill(self._byte)


def frame_checksum(video: Video, frame: VideoFrame) -> int:
    """A 64-bit checksum of a frame's planes, as decoded."""
    form = frame.format
    planes: Any = frame.planes  # PyAV's planes have the buffer protocol, but its stubs lack it
    if form.has_palette or len(planes) != len(form.components) or min(part.bits for part in form.components) < 8:
        converted = Planes(video, 1)  # several components in one plane: compare what decoding returns
        converted.store(0, frame)
        lines = converted.data.reshape(-1, converted.data.shape[-1])
        return int(kernels.plane_checksum(lines, lines.shape[1], *lines.shape, 0))
    found = 0
    for plane, part in zip(planes, form.components, strict=True):
        found = kernels.plane_checksum(plane, plane.line_size, plane.height, plane.width * (1 + (part.bits > 8)), found)
    return found


class FrameTaker(Protocol):
    """Takes the frames of a video in order, to keep them."""

    def take(self, frame: VideoFrame) -> None: ...
    def finish(self) -> None: ...
    def drop(self) -> None: ...


@dataclass
class Watch:
    """The record of the sequential pass: each frame's packet, time and checksum, which seek points must reproduce."""

    video: Video
    keys: dict[int, PacketId]
    second: int  # one second, in the stream's time base
    dts: list[int | None] | None  # decoding time of each packet, where that gives the frames' times; else None
    start: int = 0  # number of its first frame in the sequential pass
    about: dict[str, Any] = field(default_factory=dict)  # columns that describe its pictures
    ended: str = ""  # why it ends before the file does
    keeper: FrameTaker | None = None
    packets: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.motion = MotionMeter(self.video)

    def see(self, frame: VideoFrame) -> str:
        """Record the next frame. Returns why this frame and later ones cannot be used, or ""."""
        at, ordinal = len(self.packets), number_of(frame)
        number = self.start + at
        if number == FRAMES:
            return f"the index holds at most {FRAMES} frames per file"
        if frame.is_corrupt:
            self.cut(self.before(ordinal))
            return f"frame {number} is damaged"
        if ordinal < 0:
            return f"frame {number} cannot be traced to its packet"
        if not self.starts or (ordinal in self.keys and at - self.starts[-1] >= _APART):
            self.starts.append(at)
        self.packets.append(ordinal)
        self.times.append(frame.pts)
        self.sums.append(frame_checksum(self.video, frame))
        self.motion.add(frame)
        if self.keeper is not None:
            self.keeper.take(frame)
        return ""

    def fits(self, frame: VideoFrame) -> bool:
        """Return True if a frame has the size and pixel format of this record's frames."""
        return (frame.height, frame.width) == self.video.stored_size and frame.format.name == self.video.pixel_format

    def stop(self, ordinal: int) -> None:
        """Keep only the frames before the first one that was decoded after the damaged frame of packet `ordinal`."""
        count = self.before(ordinal)
        if count < len(self.packets):
            self.cut(count)
            self.ended = f"frame {self.start + count} may refer to a damaged frame"

    def before(self, ordinal: int) -> int:
        """Number of frames before the first one that was decoded after packet `ordinal`.

        Such a frame may refer to the frame of that packet, even if it is shown earlier.
        """
        return next((at for at, packet in enumerate(self.packets) if packet > ordinal >= 0), len(self.packets))

    def cut(self, count: int) -> None:
        """Keep only the first `count` frames."""
        del self.packets[count:], self.times[count:], self.sums[count:]
        self.starts = [start for start in self.starts if start < count]

    def shown(self) -> list[int | None]:
        """Presentation time of each frame; None where it is not known."""
        if self.dts is None:
            return self.times
        times = chunk_times(self.dts, self.packets)
        return [None for _ in self.packets] if times is None else [*times]

    def regular(self) -> bool | None:
        """Return True if frames are evenly spaced, up to the rounding of the time base; None if no times are known."""
        times = [time for time in self.shown() if time is not None]
        if len(self.packets) < 3:
            return True
        if len(times) < len(self.packets):
            return False if times else None
        steps = np.diff(times)
        least, most = int(steps.min()), int(steps.max())
        return least == most > 0 or (least >= _FINE and most - least <= 1)

    def verified(self, checksums: Checksums, droppable: bool, *, steered: bool) -> Verified:
        """Find the seek points from which decoding, as in training, gives the frames of the sequential pass.

        Frames that no point gives again are cut. Before that, decoding without dropping is tried: where a decoder hides
        damage, it may use a frame that otherwise no other frame needs.

        Args:
            checksums: Of the packets that the sequential pass read.
            droppable: As in `Video`, as far as is known.
            steered: As in `Again`, of the packets that the sequential pass read.

        Raises:
            UnusableError: Not even the first frame is the same again.
        """
        if len(set(self.packets)) < len(self.packets):
            raise UnusableError("its frames cannot be identified: one packet gave several frames")
        video = replace(self.video, packet=np.asarray(self.packets, np.int32), checksums=checksums, droppable=droppable)
        points, count = self._verify(video, steered)
        if count < len(self.packets) and droppable:
            droppable = False
            points, count = self._verify(replace(video, droppable=False), steered)
        if count == 0:
            raise UnusableError("decoding it twice gives different frames")
        if count == len(self.packets):
            return Verified(make_points(points), droppable, "")
        while 0 < count < len(self.packets):  # what is left of a stretch is decoded up to its new end
            self.cut(count)
            again = replace(video, packet=np.asarray(self.packets, np.int32), droppable=droppable)
            points, count = self._verify(again, steered) if again.damaged else (points, count)
        if count == 0:
            raise UnusableError("decoding it twice gives different frames")
        points = [point for point in points if point[0] < count]
        return Verified(make_points(points), droppable, f"decoding it twice gives different frames {count} and later")

    def _verify(self, video: Video, steered: bool) -> tuple[list[_Point], int]:
        """The seek points, and the frame before which they give all frames again."""
        points, proven = _Points(len(self.starts) + 1), list[int]()  # of each: the frame before which all are proven
        with Again(video, steered=steered) as again:
            for at in range(len(self.starts)):
                end = self._sought(video, again, points, at) if at or self.start else None
                # The first frames of a later part may have a point of their own; else they are reached from the start
                # of the file.
                if end is None and at == 0:
                    points.add((0, 0, 0, self.keys[0]))
                    end = 0
                if end is not None:
                    proven.append(end)
            further = video.codec in _LEAVES_REFERENCES
            # Frames of a stretch without a point of its own are reached from the point before it.
            stops = [*(points[at][0] for at in range(1, len(points))), len(self.packets)]
            for at in range(len(points)):
                stop = stops[min(at + further, len(stops) - 1)]
                if proven[at] < stop:
                    proven[at] = max(proven[at], self._proven(video, again, points, at + 1, stop))
                    if proven[at] < stop:
                        return [*points], proven[at]
        return [*points], len(self.packets)

    def _sought(self, video: Video, again: Again, points: _Points, at: int) -> int | None:
        """Add a point for stretch `at`, and return the frame before which it gives all frames again.

        None if there is no such point.
        """
        ends = (*self.starts[at + 1 : at + 3], len(self.packets))
        stop = ends[min(video.codec in _LEAVES_REFERENCES, len(ends) - 1)]
        start, ordinal = self.starts[at], self.packets[self.starts[at]]
        for stamp in self._stamps(self.keys[ordinal]) if ordinal in self.keys else ():
            points.add((start, ordinal, stamp, self.keys[ordinal]))
            end = self._proven(video, again, points, len(points), stop)
            if end >= ends[0]:
                return end
            points.drop()
        return None

    def _proven(self, video: Video, again: Again, points: _Points, count: int, end: int) -> int:
        """The frame before which all frames, from the last of `count` points on, are the same again; at most `end`."""
        start, first, *_ = points[count - 1]
        probed = end if video.damaged or video.container == IMAGE2 else min(start + _PROBED, end)
        asked = np.unique([*range(start, probed), end - 1])
        place = dict(zip(self.packets[start:end], range(start, end), strict=True))
        missing, wrong = set(asked.tolist()), list[int]()
        try:
            with again.open(first) as source:
                fill = Memory(source, again=True).fill
                for frame in decoded(video, source, asked, fill, points.shown(count)):
                    at = place.get(number_of(frame))
                    if at is not None:
                        check_frame(video, frame)
                        missing.discard(at)
                        if frame_checksum(video, frame) != self.sums[at]:
                            wrong.append(self.packets[at])
        except (DecodeError, av.FFmpegError, OSError) as error:
            if machine_reason(error, video.path):
                raise
            return start
        if missing:
            return start
        return end if not wrong else next(at for at in range(start, end) if self.packets[at] >= min(wrong))

    def _stamps(self, landing: PacketId) -> list[int]:
        """The timestamps to try to seek to.

        MP4 and Matroska are searched by pts, AVI by dts, and MPEG streams only approximately.
        """
        times = [time for time in landing[1:3] if time is not None]
        return list(dict.fromkeys([*times, *(time - self.second for time in times[-1:])]))
