"""decode_reduce: reduces each frame right after it is decoded, while it is in a cache, and copies no planes."""

from __future__ import annotations

from av.video.frame import VideoFrame

from vidssl.native import kernels
from vidssl.types import Array
from vidssl.video.decode import Planar, Video


class Reducer:
    """Writes decoded frames, one by one, as `reduce(decode(...))` does, with the same bits, on the CPU.

    Args:
        video: The video.
        size: (height, width) of the reduced frames in pixels.
        out: numpy array of `planar_shape(F, size)` for F frames.

    Raises:
        VidsslError: `out` has a wrong type or shape, or `size` is out of range.
    """

    def __init__(self, video: Video, size: tuple[int, int], out: Array) -> None:
        self._planar = Planar(video)
        self._reducer = kernels.FrameReducer(*video.size, list(video.space.chroma), *size, out)

    def store(self, slot: int, frame: VideoFrame) -> None:
        """Writes a frame to `out[slot]`.

        Raises:
            DecodeError: The frame has another size or pixel format than the video.
        """
        self._reducer.reduce(slot, *self._planar(frame))
