"""Computes how a video's planes become RGB.

Sources: ITU-T H.273 (equations and tables), FFmpeg's libavutil/pixfmt.h (names, numbers).
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

# Weights of red and blue in luma. An untagged picture is treated as BT.601, as in swscale.
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
    """Why planes of this matrix cannot become RGB by one affine map; None if they can."""
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

    Args:
        matrix: A name in MATRICES.
        range_: A name in RANGES. An unknown range is treated as limited ("tv").
        chroma: (x, y) position of chroma sample (0, 0), in luma samples.
        primaries: A name in PRIMARIES.

    Raises:
        VidsslError: The range is unknown, or the matrix is not one affine map (constant luminance, ICtCp, ...).

    Source: H.273, equations 38 to 58.
    """
    if range_ not in RANGES:
        raise VidsslError(f"color_space: range_={range_!r}: pass one of {', '.join(RANGES)}")
    reason = refusal(matrix, primaries)
    if reason:
        raise VidsslError(f"color_space: matrix={matrix!r}: {reason}; convert the video to bt709 first")
    full = range_ == "pc"
    offset, luma, color = (0.0, 255.0, 255.0) if full else (16.0, 219.0, 224.0)
    if matrix == "ycgco":
        mix = np.array([[1, -1, 1], [1, 1, 0], [1, -1, -1]], np.float64)
        color = luma  # H.273: the sums are computed from RGB after its range is applied
    else:
        mix = _from_luma(*(_derived(primaries) if matrix == "chroma-derived-nc" else _LUMA[matrix]))
    scaled = mix * (255.0 / np.array([luma, color, color]))
    shift = -scaled @ np.array([offset, 128.0, 128.0])
    return ColorSpace(to_rgb=np.column_stack([scaled, shift]).astype(np.float32), chroma=chroma)


def rgb_space(space: ColorSpace) -> ColorSpace:
    """The map to the intended RGB, for RGB that a decoder computed with BT.601's limited range regardless of the video.

    Values that the decoder clipped at 0 and 255 stay lost.

    Args:
        space: Colour space of the video's planes.
    """
    assumed = color_space("smpte170m", "tv").to_rgb
    if np.array_equal(space.to_rgb, assumed):
        return RGB
    meant, done = (np.vstack([part.astype(np.float64), [0, 0, 0, 1]]) for part in (space.to_rgb, assumed))
    return ColorSpace(to_rgb=(meant @ np.linalg.inv(done))[:3].astype(np.float32), chroma=RGB.chroma)


def _from_luma(red: float, blue: float) -> npt.NDArray[np.float64]:
    """The matrix from (Y, Cb, Cr), Y in 0..1 and Cb, Cr in -0.5..0.5, to (R, G, B) in 0..1."""
    green = 1.0 - red - blue
    return np.array(
        [
            [1.0, 0.0, 2.0 * (1.0 - red)],
            [1.0, -2.0 * blue * (1.0 - blue) / green, -2.0 * red * (1.0 - red) / green],
            [1.0, 2.0 * (1.0 - blue), 0.0],
        ]
    )


def _derived(primaries: str) -> tuple[float, float]:
    """Weights of red and blue from the chromaticities: the amounts of the primaries that make white of luminance 1.

    Source: H.273, equations 32 to 37.
    """
    xyz = np.array([(x / y, 1.0, (1.0 - x - y) / y) for x, y in _PRIMARIES[primaries]])
    red, _, blue = np.linalg.solve(xyz[:3].T, xyz[3])
    return float(red), float(blue)


def chroma_position(codec: str, pixel_format: str) -> tuple[float, float]:
    """(x, y) of chroma sample (0, 0), in luma samples, in the 4:2:0 planes that decoding gives, before rotation.

    PyAV does not expose the position that a stream may signal, so this is the default of each standard: between the
    luma samples for MPEG-1 and JPEG (JFIF), left for the others (H.262 6.1.1.8, H.264 and H.265 Annex E, VP9). Where
    swscale converts another subsampling to 4:2:0, it uses the position that FFmpeg's decoders set;
    `tests/video/test_color.py` measures this.
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
    """Position of chroma sample (0, 0) after a clockwise rotation, then optional mirroring from left to right.

    Args:
        chroma: (x, y) before the rotation, in luma samples.
        size: (height, width) before the rotation, in pixels.
        rotation: Degrees clockwise, a multiple of 90.
        mirror: Mirror left to right after the rotation.
    """
    (x, y), (height, width) = chroma, size
    for _ in range(rotation // 90):  # clockwise: the new x axis is the reversed old y axis
        x, y, height, width = _from_end(y, height), x, width, height
    return (_from_end(x, width), y) if mirror else (x, y)


def _from_end(offset: float, length: int) -> float:
    return (length - 1) - 2 * ((length + 1) // 2 - 1) - offset
