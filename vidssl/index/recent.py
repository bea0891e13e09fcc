"""Videos that were read from an index lately, so that a loader reads a row once and not for every window."""

from __future__ import annotations

import threading

from vidssl.video.decode import Video

MOST_BYTES = 2**26  # about 20,000 videos with a few seek points each
_VIDEO = 2048  # bytes of a video without its arrays, measured
_POINT = 200  # bytes of a seek point, measured


class RecentVideos:
    """Videos by row. Those that were added first are dropped when all take more than `most` bytes. Thread-safe.

    The packets of most videos are views of a mapped index, and take no memory here.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._videos: dict[int, Video] = {}  # in the order in which they were added
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._videos)

    def get(self, row: int) -> Video | None:
        return self._videos.get(row)

    def add(self, row: int, video: Video) -> None:
        """Adds a video that `get` did not find."""
        with self._lock:
            if row in self._videos:  # another thread added it
                return
            self._videos[row] = video
            self._bytes += _bytes_of(video)
            while self._bytes > self._most:
                self._bytes -= _bytes_of(self._videos.pop(next(iter(self._videos))))


def _bytes_of(video: Video) -> int:
    packets = video.packet.nbytes if video.packet.flags.owndata else 0
    return _VIDEO + _POINT * len(video.points.frame) + packets
