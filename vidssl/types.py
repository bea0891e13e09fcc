"""The types that every layer shares: windows, frames, plans, batches and the colour spaces of video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.checks import MAX_SIDE as MAX_SIDE
from vidssl.checks import is_real, is_size

if TYPE_CHECKING:  # this module and the kernels run without torch
    from torch import Tensor

MAX_FRAMES = 2**23 - 1  # the limit of one array of frames, as in csrc/kernels/view.h
Array = Any  # any DLPack array: numpy, torch, cupy


class VidsslError(Exception):
    """An error whose message names the argument, its value and the fix."""


class InvalidArgument(VidsslError, ValueError):
    """The kernels refuse an argument. This is also a ValueError, as Python's own functions raise."""


class Window(NamedTuple):
    """A run of consecutive frames of one video.

    Attributes:
        position: Position in the epoch.
        video: Row of the index.
        first: Number of the first frame.
        span: Number of frames.
    """

    position: int
    video: int
    first: int
    span: int


@dataclass(frozen=True, kw_only=True)
class ColorSpace:
    """The affine map from planes to RGB, or from stored RGB to the intended RGB.

    Attributes:
        to_rgb: float32 [3, 4]. Maps (Y, U, V, 1) or (R, G, B, 1), values in 0..255, to RGB in 0..255.
        chroma: (x, y) position of chroma sample (0, 0), in luma samples: 0 is on the even luma sample, 0.5 is midway
            between two luma samples, 1 is on the odd one.
    """

    to_rgb: npt.NDArray[np.float32]
    chroma: tuple[float, float]

    def __post_init__(self) -> None:
        matrix = self.to_rgb
        if (
            not isinstance(matrix, np.ndarray)
            or matrix.shape != (3, 4)
            or matrix.dtype.kind not in "iuf"
            or not np.isfinite(matrix).all()
        ):
            raise VidsslError(f"ColorSpace: to_rgb={matrix!r}: pass a numpy array float32 [3, 4] of finite numbers")
        chroma: object = self.chroma
        if not isinstance(chroma, tuple | list) or len(chroma) != 2 or not all(is_real(n, 0, 1) for n in chroma):
            raise VidsslError(f"ColorSpace: chroma={chroma!r}: pass (x, y), both in 0..1")


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded frames of one window, upright and all of one size.

    Attributes:
        data: uint8 [F, 3 * rows / 2, cols], planar YUV 4:2:0 (rows and cols are even; Y, then U, then V), or
            uint8 [F, H, W, 3], RGB.
        number: int64 [F], ascending frame numbers: positions in presentation order of a full sequential decode.
        size: (height, width) of the picture in pixels. The picture is the upper left part of the stored planes.
        space: Colour space of `data`.
    """

    data: Array
    number: npt.NDArray[np.int64]
    size: tuple[int, int]
    space: ColorSpace


def planar_shape(count: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Shape (count, 3 * rows / 2, cols) of `count` frames of planar YUV 4:2:0. Rows and cols are even."""
    rows, cols = (length + length % 2 for length in size)
    return count, rows // 2 * 3, cols


RGB = ColorSpace(to_rgb=np.eye(3, 4, dtype=np.float32), chroma=(0.5, 0.5))


def as_frames(frames: Frames | Array, argument: str) -> Frames:
    """Wrap a bare array as `Frames`; return `Frames` as they are.

    Args:
        frames: Frames, or an array uint8 [F, H, W, 3] (RGB) or uint8 [F, 3 * H / 2, W] (planar YUV 4:2:0). The colour
            space of a bare array is RGB, so pass planar YUV as a bare array only where its colour is not used.
        argument: Name of the argument, for error messages.

    Raises:
        VidsslError: The array, size or colour space cannot be that of frames. The check happens before memory of that
            shape is allocated.
    """
    if isinstance(frames, Frames):
        _check_sizes(tuple(getattr(frames.data, "shape", ())), frames.size, argument)
        if not isinstance(frames.space, ColorSpace):
            raise VidsslError(f"{argument}.space is a {type(frames.space).__name__}: pass a ColorSpace")
        return frames
    shape = tuple(getattr(frames, "shape", ()))
    if not hasattr(frames, "__dlpack__"):
        raise VidsslError(f"{argument} is a {type(frames).__name__}: pass Frames, or an array of numpy, torch or cupy")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise VidsslError(
            f"{argument} has shape {list(shape)}: pass Frames, or an array uint8 [F, H, W, 3] (RGB) "
            "or [F, 3 * H / 2, W] (planar YUV 4:2:0)"
        )
    size = (int(shape[1]), int(shape[2])) if len(shape) == 4 else (int(shape[1]) // 3 * 2, int(shape[2]))
    _check_sizes(shape, size, argument)
    return Frames(data=frames, number=np.arange(shape[0]), size=size, space=RGB)


def _check_sizes(shape: tuple[int, ...], size: tuple[int, int], argument: str) -> None:
    if not shape or max(shape) > MAX_SIDE or shape[0] > MAX_FRAMES:
        raise VidsslError(
            f"{argument} has shape {list(shape)}: take at most {MAX_FRAMES} frames with sides "
            f"of at most {MAX_SIDE}; split the array"
        )
    if not is_size(size):
        raise VidsslError(
            f"{argument}.size={size!r}: pass a positive (height, width), the size of the picture within {list(shape)}"
        )


class Plan(NamedTuple):
    """The frames, crops and colours to show of a window: K slots of T frames.

    The plans of several tuples may be joined into one, whose first dimension is then tuples * K.

    Attributes:
        frame: int32 [K, T], positions in the window.
        box: float32 [K, T, 4], x, y, width, height in pixels.
        flip: uint8 [K], 1 where the slot is mirrored left to right.
        color: float32 [K, T, 3, 4], affine colour maps.
        label: int64 [] for one tuple, [tuples] for several, [tuples * tasks] for several tuples of several tasks.
        status: int32 of the same shape as `label`. 0: the plan meets the spec. 1: no try met the limits. 2: no try
            found frames that differ enough. 3: the window is too short.
    """

    frame: Array
    box: Array
    flip: Array
    color: Array
    label: Array
    status: Array


class Batch(NamedTuple):
    """B tuples of K slots, ready for the encoder, with the origin of each frame.

    Attributes:
        clips: [B, K, C, T, H, W].
        label: int64 [B], of the task's table; of several tasks at once, [B, tasks].
        video: int64 [B], row of the index.
        frame: int64 [B, K, T], frame number in that video.
        status: int32, of the shape of `label`. 0: the plan meets the spec. 1: no try met the limits. 2: no try found
            frames that differ enough.
        target: int64 [B], the class of the video: its place in `classes` of the loader's index; -1 if the video has no
            label. Parts of an index have the same classes only if each part has a video of every class.
    """

    clips: Tensor
    label: Tensor
    video: Tensor
    frame: Tensor
    status: Tensor
    target: Tensor
