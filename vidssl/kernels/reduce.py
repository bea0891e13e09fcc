"""reduce: resizes decoded frames once, to the size that a store keeps. Source: csrc/kernels/reduce.h."""

from __future__ import annotations

from vidssl.arrays import device_of, empty_like, stream_of
from vidssl.checks import MAX_SIDE, is_size
from vidssl.native import kernels
from vidssl.types import Array, ColorSpace, Frames, VidsslError, planar_shape


def reduce(frames: Frames, size: tuple[int, int], *, out: Array | None = None) -> Frames:
    """Resizes frames of planar YUV 4:2:0, with the antialiased bilinear filter of `assemble`.

    The aspect ratio is not kept: the result shows the whole picture. Chroma lies between the luma samples afterwards.
    Values are rounded half to even.

    Args:
        frames: Decoded frames, planar YUV 4:2:0.
        size: (height, width) of the result in pixels.
        out: uint8 [F, 3 * rows / 2, cols] to write to (`planar_shape`). None allocates a new array.

    Returns:
        Frames of `size` with the same numbers and colours, on the same device. If a side is odd, the last row or column
        is repeated, so that the stored sides are even.

    Raises:
        VidsslError: `frames` is not planar YUV 4:2:0, `size` is out of range, or `out` has another shape or overlaps
            the frames in memory.
    """
    if not is_size(size):
        raise VidsslError(f"size={size!r}: take positive (height, width), at most {MAX_SIDE}")
    if not isinstance(frames, Frames) or len(getattr(frames.data, "shape", ())) != 3:
        raise VidsslError(f"frames is a {type(frames).__name__}: pass Frames of planar YUV 4:2:0, as `decode` returns")
    shape = planar_shape(int(frames.data.shape[0]), size)
    out = empty_like(frames.data, shape, "uint8") if out is None else out
    with device_of(frames.data):
        kernels.reduce(frames.data, *frames.size, list(frames.space.chroma), *size, out, stream=stream_of(frames.data))
    space = ColorSpace(to_rgb=frames.space.to_rgb, chroma=(0.5, 0.5))
    return Frames(data=out, number=frames.number, size=(int(size[0]), int(size[1])), space=space)
