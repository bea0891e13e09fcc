"""motion: measures how much each part of the picture changes from frame to frame. Source: csrc/kernels/motion.h."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.arrays import device_of, empty_like, stream_of
from vidssl.native import kernels
from vidssl.types import Array, Frames, as_frames

CELL = 16  # side of a cell in pixels, and side of a thumbnail in cells
_BLOCK = 4  # side of a block in pixels


class Motion(NamedTuple):
    """The result of `motion`.

    Args:
        sad: uint32 [F - 1, ceil(H / 16), ceil(W / 16)], change of luma from frame f to frame f + 1 in each cell of
            16 x 16 pixels.
        thumb: uint8 [F, 16, 16], thumbnail of each frame: the mean luma of each of 16 x 16 parts of the picture.
    """

    sad: Array
    thumb: Array


def motion(frames: Frames | Array) -> Motion:
    """Measures motion with integers, so that CPU and GPU give the same bits.

    Args:
        frames: `Frames`, or an array (numpy, torch, cupy) uint8 [F, H, W, 3] of RGB or [F, 3 * H / 2, W] of planar
            YUV 4:2:0. Only the first axis may be strided.

    Returns:
        Arrays of the same library and on the same device as `frames`.

    Raises:
        VidsslError: `frames` has a wrong type, shape or layout.
    """
    frames = as_frames(frames, "frames")
    count, (height, width) = int(frames.data.shape[0]), frames.size
    sad = empty_like(frames.data, (max(count - 1, 0), -(-height // CELL), -(-width // CELL)), "uint32")
    thumb = empty_like(frames.data, (count, CELL, CELL), "uint8")
    with device_of(frames.data):
        kernels.motion(frames.data, height, width, sad, thumb, stream=stream_of(frames.data))
    return Motion(sad, thumb)


def motion_many(frames: Frames, windows: npt.NDArray[np.int64]) -> Motion:
    """Measures the motion of many windows of one array of frames.

    Args:
        frames: Frames, as in `motion`.
        windows: int64 [N, 2], first frame and number of frames of each window.

    Returns:
        What N calls of `motion` return, joined.

    Raises:
        VidsslError: As `motion`; or a window is empty, or not within `frames`.
    """
    height, width = frames.size
    total = int(windows[:, 1].sum())
    sad = empty_like(frames.data, (max(total - len(windows), 0), -(-height // CELL), -(-width // CELL)), "uint32")
    thumb = empty_like(frames.data, (max(total, 0), CELL, CELL), "uint8")
    with device_of(frames.data):
        kernels.motion_many(frames.data, height, width, windows, sad, thumb, stream=stream_of(frames.data))
    return Motion(sad, thumb)


class LumaChange:
    """Measures motion, on the CPU, of frames that are never in memory together.

    Args:
        size: (height, width) of the frames in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        height, width = size
        self._sums = np.zeros((-(-height // _BLOCK), -(-width // _BLOCK)), np.uint16)

    def add(self, luma: npt.NDArray[np.uint8]) -> int:
        """Add the next frame.

        Args:
            luma: uint8 [H, W]. Only the first axis may be strided.

        Returns:
            The sum of `Motion.sad` over all cells, from the frame before (for the first frame: from black) to this one.

        Raises:
            VidsslError: `luma` has a wrong type, shape or layout.
        """
        return int(kernels.luma_change(luma, self._sums))
