"""The nouns that every stage shares: frames, plans, batches and the colour spaces of video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # types needs no torch, as the kernels do not
    from torch import Tensor

MAX_FRAMES, MAX_SIDE = 2**23 - 1, 2**24 - 1  # of one array of frames, as in csrc/kernels/view.h
Array = Any  # any DLPack array: numpy, torch, cupy


class VidsslError(Exception):
    """An error whose message names the argument, its value and the fix."""


class InvalidArgument(VidsslError, ValueError):
    """An argument that the kernels refuse; a ValueError as well, as Python's own functions raise it."""


class Window(NamedTuple):
    """`span` frames of one video from `first` on. `video` is the row of the index, `position` the place in the epoch."""

    position: int
    video: int
    first: int
    span: int


@dataclass(frozen=True, kw_only=True)
class ColorSpace:
    """How planes become RGB, or stored RGB the RGB that is meant.

    to_rgb: float32 [3, 4], (Y, U, V, 1) or (R, G, B, 1) in 0..255 to RGB in 0..255.
    chroma: (x, y) of chroma sample (0, 0) in luma samples: 0 on the even one, 0.5 between, 1 on the odd one.
    """

    to_rgb: npt.NDArray[np.float32]
    chroma: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded frames of one window, upright, all of one size.

    data: uint8 [F, 3 * rows / 2, cols] planar YUV 4:2:0 (rows, cols even; Y, then U, then V) or uint8 [F, H, W, 3] RGB.
    number: int64 [F] frame numbers (positions in presentation order of a full sequential decode), ascending.
    size: (height, width) of the picture, the upper left part of what is stored.
    """

    data: Array
    number: npt.NDArray[np.int64]
    size: tuple[int, int]
    space: ColorSpace


RGB = ColorSpace(to_rgb=np.eye(3, 4, dtype=np.float32), chroma=(0.5, 0.5))


def as_frames(frames: Frames | Array, argument: str) -> Frames:
    """A bare array as `Frames`: RGB [F, H, W, 3], or planar YUV 4:2:0 [F, 3 * H / 2, W] whose colour is not asked for.

    Raises VidsslError for what cannot be frames, before memory of their shape is taken.
    """
    if isinstance(frames, Frames):
        _check_sizes(tuple(getattr(frames.data, "shape", ())), frames.size, argument)
        return frames
    shape = tuple(getattr(frames, "shape", ()))
    if not hasattr(frames, "__dlpack__"):
        raise VidsslError(f"{argument} is a {type(frames).__name__}: pass Frames, or an array of numpy, torch or cupy")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise VidsslError(
            f"{argument} has shape {list(shape)}: pass Frames, or an array uint8 [F, H, W, 3] (RGB) or [F, 3 * H / 2, "
            "W] (planar YUV 4:2:0)"
        )
    size = (int(shape[1]), int(shape[2])) if len(shape) == 4 else (int(shape[1]) // 3 * 2, int(shape[2]))
    _check_sizes(shape, size, argument)
    return Frames(data=frames, number=np.arange(shape[0]), size=size, space=RGB)


def _check_sizes(shape: tuple[int, ...], size: tuple[int, int], argument: str) -> None:
    if not shape or max(shape) > MAX_SIDE or shape[0] > MAX_FRAMES:
        raise VidsslError(
            f"{argument} has shape {list(shape)}: take at most {MAX_FRAMES} frames, {MAX_SIDE} a side; cut them into "
            "parts"
        )
    if len(size) != 2 or not all(0 < length <= MAX_SIDE for length in size):
        raise VidsslError(
            f"{argument}.size={size!r}: take positive (height, width), the part of {list(shape)} that is the picture"
        )


class Plan(NamedTuple):
    """What to show of a window: K slots of T frames. The plans of several tuples may be joined into one: K is then
    tuples * K.

    frame: int32 [K, T], positions in the window. box: float32 [K, T, 4], x, y, w, h in pixels. flip: uint8 [K]. color:
    float32 [K, T, 3, 4]. label: int64 [] of one tuple, [tuples] of several. status: int32 of that shape, 0: as the spec
    wants it; 1: no try met its limits; 2: none found frames that differ enough; 3: the window is too short.
    """

    frame: Array
    box: Array
    flip: Array
    color: Array
    label: Array
    status: Array


class Batch(NamedTuple):
    """B tuples of K slots, as the encoder wants them, and where each of their frames came from.

    clips: [B, K, C, T, H, W]. label: int64 [B]. video: int64 [B], row of the index. frame: int64 [B, K, T], frame
    number in that video.
    status: int32 [B], 0: as the spec wants it; 1: no try met its limits; 2: none found frames that differ enough.
    """

    clips: Tensor
    label: Tensor
    video: Tensor
    frame: Tensor
    status: Tensor
