"""color: how a video's planes become RGB. Sources: ITU-T H.273 (equations and tables), FFmpeg's libavutil/pixfmt.h
(names, numbers).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vidssl.types import RGB, ColorSpace, VidsslError

# FFmpeg's names of AVColorSpace, AVColorPrimaries and AVColorRange, by number.
MATRICES = (
    "gbr",
    "bt709",
    "unknown",
    "reserved",
    "fcc",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "ycgco",
    "bt2020nc",
    "bt2020c",
    "smpte2085",
    "chroma-derived-nc",
    "chroma-derived-c",
    "ictcp",
    "ipt-c2",
    "ycgco-re",
    "ycgco-ro",
)
PRIMARIES = {
    1: "bt709",
    2: "unknown",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "ebu3213",
}
RANGES = ("unknown", "tv", "pc")

# Weights of red and blue in luma. An untagged picture is read as BT.601, as swscale reads it.
_LUMA = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "unknown": (0.299, 0.114),
    "reserved": (0.299, 0.114),
    "gbr": (0.299, 0.114),
}
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
# Chromaticities (x, y) of red, green, blue and white: H.273, table 2.
_PRIMARIES = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    "bt470m": ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    "bt470bg": ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    "smpte170m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    "smpte240m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    "film": ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    "smpte431": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    "ebu3213": ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}


def refusal(matrix: str, primaries: str) -> str | None:
    """Why planes of this matrix cannot become RGB by one affine map; None where they can."""
    if matrix in _LUMA or matrix == "ycgco":
        return None
    if matrix == "chroma-derived-nc":
        return (
            None if primaries in _PRIMARIES else f"unsupported colour matrix {matrix} with colour primaries {primaries}"
        )
    return f"unsupported colour matrix {matrix}: it is not one affine map"


@lru_cache(maxsize=64)
def color_space(
    matrix: str, range_: str, chroma: tuple[float, float] = (0.0, 0.5), primaries: str = "unknown"
) -> ColorSpace:
    """The affine map from 8-bit planes to RGB.

    matrix, range_, primaries: names as in MATRICES, RANGES, PRIMARIES; an unknown range is the limited one ("tv").
    chroma: (x, y) of chroma sample (0, 0) in luma samples.
    Raises VidsslError for a matrix that is not linear (constant luminance, ICtCp, ...). Source: H.273, equations 38 to
    58.
    """
    if range_ not in RANGES:
        raise VidsslError(f"color_space: range_={range_!r}: take one of {', '.join(RANGES)}")
    reason = refusal(matrix, primaries)
    if reason:
        raise VidsslError(f"color_space: matrix={matrix!r}: {reason}; convert the video to bt709 first")
    full = range_ == "pc"
    offset, luma, color = (0.0, 255.0, 255.0) if full else (16.0, 219.0, 224.0)
    if matrix == "ycgco":
        mix = np.array([[1, -1, 1], [1, 1, 0], [1, -1, -1]], np.float64)
        color = luma  # H.273: the sums are taken of RGB that is in its range already
    else:
        mix = _from_luma(*(_derived(primaries) if matrix == "chroma-derived-nc" else _LUMA[matrix]))
    scaled = mix * (255.0 / np.array([luma, color, color]))
    shift = -scaled @ np.array([offset, 128.0, 128.0])
    return ColorSpace(to_rgb=np.column_stack([scaled, shift]).astype(np.float32), chroma=chroma)


def rgb_space(space: ColorSpace) -> ColorSpace:
    """For RGB that a decoder made of a video's planes by BT.601's limited range, whatever the video says: the map to
    the RGB that is meant.

    space: of the planes. What the decoder has cut off at 0 and 255 stays lost.
    """
    assumed = color_space("smpte170m", "tv").to_rgb
    if np.array_equal(space.to_rgb, assumed):
        return RGB
    meant, done = (np.vstack([part.astype(np.float64), [0, 0, 0, 1]]) for part in (space.to_rgb, assumed))
    return ColorSpace(to_rgb=(meant @ np.linalg.inv(done))[:3].astype(np.float32), chroma=RGB.chroma)


def _from_luma(red: float, blue: float) -> npt.NDArray[np.float64]:
    """(Y, Cb, Cr) with Y in 0..1 and Cb, Cr in -0.5..0.5 to (R, G, B) in 0..1."""
    green = 1.0 - red - blue
    return np.array(
        [
            [1.0, 0.0, 2.0 * (1.0 - red)],
            [1.0, -2.0 * blue * (1.0 - blue) / green, -2.0 * red * (1.0 - red) / green],
            [1.0, 2.0 * (1.0 - blue), 0.0],
        ]
    )


def _derived(primaries: str) -> tuple[float, float]:
    """Weights of red and blue from the chromaticities: how much of each primary makes white of luminance 1 (H.273, eq.
    32 to 37).
    """
    xyz = np.array([(x / y, 1.0, (1.0 - x - y) / y) for x, y in _PRIMARIES[primaries]])
    red, _, blue = np.linalg.solve(xyz[:3].T, xyz[3])
    return float(red), float(blue)


def chroma_position(codec: str, pixel_format: str) -> tuple[float, float]:
    """(x, y) of chroma sample (0, 0) in luma samples, in the 4:2:0 planes that decoding gives, before they are turned.

    PyAV does not tell the position that a stream may signal, so this is each standard's default: between the luma
    samples for MPEG-1 and JPEG (JFIF), left for the others (H.262 6.1.1.8, H.264 and H.265 Annex E, VP9). Where swscale
    makes 4:2:0 of another subsampling it goes by what FFmpeg's decoders set, as `tests/video/test_color.py` measures.
    """
    if codec in ("mjpeg", "mpeg1video"):
        return 0.5, 0.5
    if codec in ("h264", "hevc"):
        return 0.0, 0.5
    if codec == "mpeg2video" and "420" not in pixel_format:
        return 0.0, 0.0
    return (0.0 if any(part in pixel_format for part in ("420", "422", "nv12", "nv16")) else 0.5), 0.5


def rotate_chroma(
    chroma: tuple[float, float], size: tuple[int, int], rotation: int, mirror: bool
) -> tuple[float, float]:
    """Where chroma sample (0, 0) lies after turning a picture of `size` (height, width) clockwise, then mirroring it
    left to right.
    """
    (x, y), (height, width) = chroma, size
    for _ in range(rotation // 90):  # clockwise: the new x runs against the old y
        x, y, height, width = _from_end(y, height), x, width, height
    return (_from_end(x, width), y) if mirror else (x, y)


def _from_end(offset: float, length: int) -> float:
    return (length - 1) - 2 * ((length + 1) // 2 - 1) - offset
