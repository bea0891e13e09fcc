"""motion: how much every part of the picture changes from frame to frame. Source: csrc/kernels/motion.h."""

from __future__ import annotations

from typing import NamedTuple

from vidssl.arrays import device_of, empty_like, stream_of
from vidssl.native import kernels
from vidssl.types import Array, Frames, as_frames

CELL = 16  # pixels a side of a cell, and cells a side of a thumbnail


class Motion(NamedTuple):
    """sad uint32 [F - 1, ceil(H / 16), ceil(W / 16)]: luma change of frame f + 1 against f; thumb uint8 [F, 16, 16]:
    mean luma.
    """

    sad: Array
    thumb: Array


def motion(frames: Frames | Array) -> Motion:
    """Scores motion, in integers: the same bits on CPU and GPU.

    frames: `Frames`, or an array uint8 [F, H, W, 3] RGB or [F, 3 * H / 2, W] planar YUV 4:2:0 (numpy, torch, cupy;
    first axis may be strided). The result is of the same kind on the same device. Raises VidsslError for another type,
    shape or layout.
    """
    frames = as_frames(frames, "frames")
    count, (height, width) = int(frames.data.shape[0]), frames.size
    sad = empty_like(frames.data, (max(count - 1, 0), -(-height // CELL), -(-width // CELL)), "uint32")
    thumb = empty_like(frames.data, (count, CELL, CELL), "uint8")
    with device_of(frames.data):
        kernels.motion(frames.data, height, width, sad, thumb, stream=stream_of(frames.data))
    return Motion(sad, thumb)
