"""color: matrices against the standard's own forward equations and against swscale; chroma where swscale really puts
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from tests.clips import split
from vidssl.index.table import VideoIndex
from vidssl.types import RGB, VidsslError
from vidssl.video.color import MATRICES, chroma_position, color_space, refusal, rgb_space, rotate_chroma
from vidssl.video.decode import decode

LINEAR = ("bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc", "unknown", "ycgco", "chroma-derived-nc")
SWSCALE = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "bt470bg": Colorspace.ITU601,
    "smpte170m": Colorspace.SMPTE170M,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020nc": Colorspace.BT2020,
}


def forward(
    matrix: str, range_: str, rgb: np.ndarray[Any, np.dtype[np.float64]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """RGB [N, 3] in 0..1 to YUV in 0..255, by the equations of H.273 (31 to 46), written out."""
    red, green, blue = rgb.T
    full = range_ == "pc"
    if matrix == "ycgco":
        scale, offset = (255.0, 0.0) if full else (219.0, 16.0)
        red, green, blue = (scale * part + offset for part in (red, green, blue))
        return np.stack(
            [0.5 * green + 0.25 * (red + blue), 0.5 * green - 0.25 * (red + blue) + 128, 0.5 * (red - blue) + 128], 1
        )
    kr, kb = {
        "bt709": (0.2126, 0.0722),
        "fcc": (0.30, 0.11),
        "smpte240m": (0.212, 0.087),
        "bt2020nc": (0.2627, 0.0593),
        "chroma-derived-nc": (0.2126, 0.0722),  # of the primaries of BT.709, to 4 digits
    }.get(matrix, (0.299, 0.114))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    pb, pr = 0.5 * (blue - luma) / (1 - kb), 0.5 * (red - luma) / (1 - kr)
    return np.stack(
        [255 * luma, 255 * pb + 128, 255 * pr + 128] if full else [219 * luma + 16, 224 * pb + 128, 224 * pr + 128], 1
    )


@pytest.mark.parametrize("range_", ["tv", "pc"])
@pytest.mark.parametrize("matrix", LINEAR)
def test_matrix_inverts_the_standards_equations(matrix: str, range_: str) -> None:
    rgb = np.random.default_rng(0).random((200, 3))
    space = color_space(matrix, range_, primaries="bt709")
    back = forward(matrix, range_, rgb) @ space.to_rgb[:, :3].T.astype(np.float64) + space.to_rgb[:, 3]
    assert space.to_rgb.shape == (3, 4)
    assert space.to_rgb.dtype == np.float32
    # primaries give BT.709's weights only to the 4 digits they are published with
    assert np.abs(back - 255 * rgb).max() < (0.05 if matrix == "chroma-derived-nc" else 1e-3)


@pytest.mark.parametrize("range_", ["tv", "pc"])
@pytest.mark.parametrize("matrix", SWSCALE)
def test_matrix_agrees_with_swscale(matrix: str, range_: str) -> None:
    """Within 1.5 of 255: swscale works in fixed point and rounds."""
    planes = np.random.default_rng(1).integers(16, 236, (3, 32, 64), dtype=np.uint8)
    span = ColorRange.MPEG if range_ == "tv" else ColorRange.JPEG
    rgb = (
        VideoReformatter()
        .reformat(
            VideoFrame.from_ndarray(planes, format="yuv444p"),
            format="rgb24",
            src_colorspace=SWSCALE[matrix],
            src_color_range=span,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        )
        .to_ndarray()
    )
    map_ = color_space(matrix, range_).to_rgb
    own = np.clip(np.tensordot(planes.transpose(1, 2, 0).astype(np.float32), map_[:, :3].T, 1) + map_[:, 3], 0, 255)
    assert np.abs(own - rgb).max() < 1.5


def test_white_black_and_grey_stay_so() -> None:
    for matrix in LINEAR:
        for range_, black, white in (("tv", 16, 235), ("pc", 0, 255), ("unknown", 16, 235)):
            map_ = color_space(matrix, range_, primaries="bt709").to_rgb
            for luma, expected in ((black, 0), (white, 255)):
                assert np.allclose(map_ @ np.array([luma, 128, 128, 1], np.float32), expected, atol=2e-3), (
                    matrix,
                    range_,
                )


def test_every_matrix_is_taken_or_refused_by_name() -> None:
    refused = {matrix for matrix in MATRICES if refusal(matrix, "bt709")}
    assert refused == {"bt2020c", "smpte2085", "chroma-derived-c", "ictcp", "ipt-c2", "ycgco-re", "ycgco-ro"}
    for matrix in refused:
        with pytest.raises(VidsslError, match=matrix):
            color_space(matrix, "tv")
    with pytest.raises(VidsslError, match="primaries unknown"):
        color_space("chroma-derived-nc", "tv")


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7)])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_chroma_turns_with_the_picture(size: tuple[int, int], rotation: int, mirror: bool) -> None:
    """Truth: mark the luma sample that chroma sample lies on (left: x = 0) or between, turn both planes, and look where
    it went.
    """
    height, width = size
    rows, cols = (height + 1) // 2, (width + 1) // 2
    luma = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    chroma = np.stack(np.meshgrid(2 * np.arange(rows) + 0.5, 2.0 * np.arange(cols), indexing="ij"), -1)
    turn = [np.rot90(plane, -rotation // 90) for plane in (luma, chroma)]
    turn = [plane[:, ::-1] for plane in turn] if mirror else turn
    # where is chroma (0, 0) on the grid of the turned luma plane? one step along x there is `right` here, one along y
    # `down`
    origin, right, down = turn[0][0, 0], turn[0][0, 1] - turn[0][0, 0], turn[0][1, 0] - turn[0][0, 0]
    away = turn[1][0, 0] - origin
    assert rotate_chroma((0.0, 0.5), size, rotation, mirror) == (float(away @ right), float(away @ down))


CONVERTED = [
    ("libx264", "yuv444p"),
    ("libx264", "yuv422p"),
    ("ffv1", "yuv444p"),
    ("ffv1", "yuv422p"),
    ("ffv1", "bgr0"),
    ("mjpeg", "yuvj422p"),
    ("mjpeg", "yuvj444p"),
    ("mpeg2video", "yuv422p"),
]


@pytest.mark.parametrize(("codec", "form"), CONVERTED)
def test_chroma_of_converted_formats_lies_where_we_say(codec: str, form: str, tmp_path: Path) -> None:
    """A ramp in blue along x (and red along y): its value tells the place a chroma sample was taken from, within 0.15
    samples.
    """
    size = 64
    place = np.arange(size) * 2.0
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            codec,
            rate=25,
            options={"qp": "0"} if codec == "libx264" else {"flags": "qscale"} if codec != "ffv1" else {},
        )
        stream.width = stream.height = size
        stream.pix_fmt = form
        stream.codec_context.global_quality = 118  # the finest quantiser of MPEG and JPEG; others do not look at it
        if form == "bgr0":
            rgb = np.zeros((size, size, 4), np.uint8)
            rgb[..., 0], rgb[..., 2] = place[None], place[:, None]
            frame = VideoFrame.from_ndarray(rgb, format="bgra").reformat(format="bgr0")
        else:
            frame = VideoFrame(size, size, form)
            # JPEG has its samples between
            across = place if "444" in form else place[::2] + (1.0 if codec == "mjpeg" else 0.0)
            planes = (
                np.full((size, size), 128),
                np.tile(across + 40, (size, 1)),
                np.tile(place[:, None] + 40, (1, len(across))),
            )
            for plane, values in zip(frame.planes, planes, strict=True):
                buffer = np.zeros((plane.height, plane.line_size), np.uint8)
                buffer[:, : plane.width] = values
                plane.update(buffer.tobytes())
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    video = VideoIndex.build(tmp_path, workers=1, progress=False).video(0)
    frames = decode(video, np.array([0]))
    _, u, v = (plane.astype(np.float64) for plane in split(frames.data[0], frames.size))
    expected = chroma_position(video.codec, form)
    at = np.arange(4, 28)
    if form == "bgr0":
        offsets = _bgr_offsets(u, v, at)
    else:
        offsets = (float(np.mean((u[16, at] - 40) / 2 - 2 * at)), float(np.mean((v[at, 16] - 40) / 2 - 2 * at)))
    assert offsets == pytest.approx(expected, abs=0.15)


def _bgr_offsets(u: Any, v: Any, at: Any) -> tuple[float, float]:
    """Place along x from U and along y from V of BT.601 limited: invert both planes for blue and red (green is 0)."""
    matrix = np.array([[-0.168736, 0.5], [0.5, -0.081312]]) * 224 / 255  # (red, blue) to (U, V)
    red, blue = np.linalg.solve(matrix, np.stack([u.ravel() - 128, v.ravel() - 128])).reshape(2, *u.shape)
    return float(np.mean(blue[16, at] / 2 - 2 * at)), float(np.mean(red[at, 16] / 2 - 2 * at))


@pytest.mark.parametrize("matrix", LINEAR)
def test_rgb_made_by_bt601_becomes_what_was_meant(matrix: str) -> None:
    """Planes to RGB as a decoder does that knows only BT.601, then the map: as if the right matrix had been used."""
    space = color_space(matrix, "tv", primaries="bt709")
    planes = np.random.default_rng(0).uniform(0, 255, (100, 3))

    def affine(map_: np.ndarray[Any, np.dtype[np.float32]], values: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
        return values @ map_[:, :3].T.astype(np.float64) + map_[:, 3]

    made = affine(color_space("smpte170m", "tv").to_rgb, planes)
    np.testing.assert_allclose(affine(rgb_space(space).to_rgb, made), affine(space.to_rgb, planes), atol=1e-3)
    assert (rgb_space(space) is RGB) == (matrix in ("smpte170m", "bt470bg", "unknown"))
