"""Sizes, orientation and colours of a video, from its first frame."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from vidssl.index.verify import UnusableError
from vidssl.video.color import MATRICES, PRIMARIES, RANGES, chroma_position, refusal
from vidssl.video.decode import is_yuv


def look_of(codec: str, frame: VideoFrame, turns: Collection[int]) -> dict[str, Any]:
    """The columns of an index about the pictures of a video.

    Args:
        codec: FFmpeg's name of the codec.
        frame: The first frame.
        turns: Of a folder of frames, the orientation of its pictures by their EXIF data, 1 to 8.

    Raises:
        UnusableError: They are turned, or have colours, as vidssl cannot show them.
    """
    rotation, mirror = next((_TURNED[turn] for turn in turns), None) or _orientation(frame)
    height, width = (frame.width, frame.height) if rotation in (90, 270) else (frame.height, frame.width)
    form = frame.format
    if form.name.startswith(("bayer", "xyz")) or "float" in form.name:
        raise UnusableError(f"unsupported pixel format {form.name}")
    yuv = is_yuv(form)
    matrix = _name(MATRICES, frame.colorspace)
    primaries = PRIMARIES.get(frame.color_primaries, "unknown")
    range_ = "pc" if form.name.startswith("yuvj") else _name(RANGES, frame.color_range)
    if not yuv:  # the converter turns RGB and grey into this
        matrix, range_ = "smpte170m", "tv"
    reason = refusal(matrix, primaries)
    if reason:
        raise UnusableError(reason)
    chroma = chroma_position(codec, form.name)
    return {
        "pixel_format": form.name,
        "coded_width": frame.width,
        "coded_height": frame.height,
        "width": width,
        "height": height,
        "rotation": rotation,
        "mirror": mirror,
        "color_matrix": matrix,
        "color_primaries": primaries,
        "color_range": range_,
        "chroma_x": chroma[0],
        "chroma_y": chroma[1],
    }


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "unknown"


# Maps (a, b, c, d) of FFmpeg's display matrix (x' = a x + c y, y' = b x + d y, y downwards) to (degrees clockwise, True
# if mirrored left to right afterwards).
_UPRIGHT = {
    (1, 0, 0, 1): (0, False),
    (0, 1, -1, 0): (90, False),
    (-1, 0, 0, -1): (180, False),
    (0, -1, 1, 0): (270, False),
    (-1, 0, 0, 1): (0, True),
    (0, 1, 1, 0): (90, True),
    (1, 0, 0, -1): (180, True),
    (0, -1, -1, 0): (270, True),
}


# The same for the orientations of EXIF.
_TURNED = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (90, True),
    6: (90, False),
    7: (270, True),
    8: (270, False),
}


def _orientation(frame: VideoFrame) -> tuple[int, bool]:
    try:
        side: Any = frame.side_data
    except ValueError as error:  # PyAV does not know EXIF data
        if frame.rotation:
            raise UnusableError("EXIF data turns its pictures; take it out of them") from error
        return 0, False
    matrix = next((data for data in side if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return 0, False
    part = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]] / 65536.0
    unit = part / max(float(np.abs(part).max()), 1e-9)
    key = tuple(int(value) for value in np.round(unit))
    if key not in _UPRIGHT or np.abs(unit - np.round(unit)).max() > 0.02:
        raise UnusableError(f"its display matrix {part.round(3).tolist()} is not a multiple of a quarter turn")
    return _UPRIGHT[key]
