"""Measures how much the picture changes from frame to frame, while frames arrive one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vidssl.kernels.motion import LumaChange
from vidssl.video.decode import Planes, Video, upright

UNITS = 256  # values are in 1/256 grey levels; the largest, 255 * 256, fits uint16
# Formats whose luma plane stays as it is where frames are converted to 8-bit 4:2:0.
_SAME_LUMA = frozenset(
    {"yuv420p", "yuvj420p", "yuv410p", "yuv411p", "yuv422p", "yuvj422p", "yuv440p", "yuv444p", "yuvj444p", "yuva420p"}
)


class MotionMeter:
    """Measures the frames of one video in order. It holds no frames, only the sums of the last one's blocks.

    Args:
        video: The video; its size and pixel format are used.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        self._planes = None if video.pixel_format in _SAME_LUMA else Planes(video, 1)
        self._change = LumaChange(video.size)
        self._totals: list[int] = []

    def add(self, frame: VideoFrame) -> None:
        """Add the next frame, which has the size and the pixel format of the video."""
        if self._planes is None:
            luma = upright(self._video, frame.planes[0])
            if luma.strides[1] != 1:  # turned
                luma = np.ascontiguousarray(luma)
        else:
            self._planes.store(0, frame)
            height, width = self._video.size
            luma = self._planes.parts[0][0, :height, :width]
        self._totals.append(self._change.add(luma))

    def column(self, frames: int) -> npt.NDArray[np.uint16]:
        """The column `motion` of the index for the first `frames` frames: uint16 [frames - 1]."""
        height, width = self._video.size
        total = np.asarray(self._totals[1:frames], np.float64)  # exact, and so is the rounding, halves to even
        return np.rint(total * UNITS / (height * width)).astype(np.uint16)
