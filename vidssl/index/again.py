"""Opens one video for each of its seek points, and reads its headers once where that changes nothing.

Opening an MP4 file reads a table of all its packets: for an hour that takes longer than to decode 16 frames, and there
is a seek point for every 16 or so. FFmpeg's demuxer of such files holds the whole table, and what it gives after a seek
depends on the table and the time alone, with two exceptions. Both are found in the file, which is then opened anew for
each point, as are files of other formats: some of their demuxers learn positions while they read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from vidssl.index.boxes import boxes
from vidssl.video.decode import Video
from vidssl.video.packets import Member, PacketReader

_ISO = "mov,mp4,m4a,3gp,3g2,mj2"


class Again:
    """Opens a video again and again. A context manager.

    Args:
        video: The video.
        steered: True if a packet came with side data that changes how pictures are decoded. The demuxer gives it with
            the first packet that it is for, so not again after a seek.
    """

    def __init__(self, video: Video, *, steered: bool) -> None:
        self._video = video
        self._whole = video.container == _ISO and not steered and not _reads_fragments_late(video)
        self._source: PacketReader | None = None

    def __enter__(self) -> Again:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.__exit__(kind, value, trace)
            self._source = None

    @contextmanager
    def open(self, packet: int) -> Iterator[PacketReader]:
        """The video, to read from a seek point on, as if it was opened anew. Errors are those of `Video.open`.

        Args:
            packet: Number of the point's packet. Where it is 0, no seek precedes reading.
        """
        if not self._whole or not packet:
            with self._video.open() as source:
                yield source
            return
        try:
            if self._source is None:
                self._source = self._video.open()
            else:
                self._source.renew()
            yield self._source
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise


def _reads_fragments_late(video: Video) -> bool:
    """Return True if fragments of an ISO base media file may be read only when they are sought (box sidx)."""
    place = video.member or Member(0, video.bytes)
    with video.path.open("rb", buffering=0) as file:  # of a remote file, only the headers are fetched
        return any(box.kind == b"sidx" for box in boxes(file, place.offset, place.offset + place.bytes))
