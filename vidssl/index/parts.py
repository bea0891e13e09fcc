"""Splits a sequential decode where its pictures change size or format, and keeps the longest part."""

from __future__ import annotations

from collections.abc import Callable

from av.video.frame import VideoFrame

from vidssl.index.verify import UnusableError, Watch
from vidssl.video.packets import number_of


class Parts:
    """The parts of one size and format. Only the longest one and the last one are held.

    Args:
        begin: Returns the record of a part, from its first frame and that frame's number in the sequential decode.
    """

    def __init__(self, begin: Callable[[VideoFrame, int], Watch]) -> None:
        self._begin = begin
        self._longest: Watch | None = None
        self._last: Watch | None = None
        self.count = 0

    def see(self, frame: VideoFrame) -> str:
        """Record the next frame. Returns why this frame and later ones cannot be used, or ""."""
        if frame.is_corrupt and self._longest is not None:
            self._longest.stop(number_of(frame))
        if self._last is None or not (frame.is_corrupt or self._last.fits(frame)):
            number = 0 if self._last is None else self._last.start + len(self._last.packets)
            if self._last is not None:
                self._last.ended = f"frame {number} is {frame.width}x{frame.height} {frame.format.name}"
                self._longest = self.longest()
            try:
                self._last = self._begin(frame, number)
            except UnusableError:
                if self._longest is None:
                    raise
                return self._longest.ended
            self.count += 1
        self._last.ended = self._last.see(frame)
        return self._last.ended

    def end(self, reason: str) -> None:
        """Record why the last part ends."""
        if self._last is not None:
            self._last.ended = reason

    def longest(self) -> Watch | None:
        """The part with the most frames, and the first of several such parts; None before the first frame."""
        parts = [part for part in (self._longest, self._last) if part is not None]
        return max(parts, key=lambda part: len(part.packets), default=None)
