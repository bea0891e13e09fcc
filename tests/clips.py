"""Small clips of many kinds, made with PyAV, and the plain truth about what is in them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from PIL import Image

Planes = list[npt.NDArray[np.uint8]]
MILLISECOND = Fraction(1, 1000)


def picture(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] of a moving texture: every frame differs from every other."""
    height, width = size
    texture = np.random.default_rng(7).integers(0, 256, (height + 64, width + 64, 3), dtype=np.uint8)
    smooth = (texture[:-1, :-1].astype(np.uint16) + texture[1:, 1:]) // 2
    y, x = int(30 + 25 * np.sin(number / 7)), number % 60
    out = smooth[y : y + height, x : x + width].astype(np.uint8)
    left = (3 * number) % max(width - 8, 1)
    out[height // 3 : height // 2 + 1, left : left + 8] = (number % 256, 255 - number % 256, 128)
    return out


def waves(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] of slow waves of strong colours that move: where its chroma is sampled hardly shows."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    phase = [(x + 4 * number) / 17 + y / 23, (x - 3 * number) / 29 + y / 13 + 2, x / 19 - (y + 5 * number) / 21 + 4]
    return np.stack([128 + 90 * np.sin(part) for part in phase], axis=-1).astype(np.uint8)


def make_clip(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 50,
    size: tuple[int, int] = (48, 64),
    form: str = "yuv420p",
    rate: int = 25,
    gop: int = 20,
    bframes: int | None = None,
    options: dict[str, Any] | None = None,
    times: list[int] | None = None,
    rotation: float = 0.0,
    hflip: bool = False,
    tags: dict[str, Any] | None = None,
    show: Callable[[int, tuple[int, int]], npt.NDArray[np.uint8]] = picture,
) -> Path:
    """Encode `show(0..frames-1)`. times: pts of each frame, in 1/1000 s. tags: colorspace, color_range, ... of the
    stream.
    """
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = form, gop
        if bframes is not None:
            stream.max_b_frames = bframes
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.time_base = stream.codec_context.time_base = MILLISECOND
        if rotation or hflip:
            stream.set_display_rotation(rotation, hflip=hflip)
        for number in range(frames):
            frame = VideoFrame.from_ndarray(show(number, size), format="rgb24").reformat(format=form)
            frame.pts = number if times is None else times[number]
            if times is not None:
                frame.time_base = MILLISECOND
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def make_frames(
    folder: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (48, 64),
    name: str = "img_{:05d}.jpg",
    first: int = 1,
    show: Callable[[int, tuple[int, int]], npt.NDArray[np.uint8]] = picture,
    mode: str = "RGB",
    **options: Any,
) -> Path:
    """Write `show(0..frames-1)` as numbered pictures, by Pillow. options: Of `Image.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(frames):
        Image.fromarray(show(number, size)).convert(mode).save(folder / name.format(first + number), **options)
    return folder


def make_packed_avi(path: Path, *, frames: int = 50, bframes: int = 2, **options: Any) -> Path:
    """As `make_clip`, MPEG-4 as DivX put it into AVI (UCF101, HMDB51): the first B-frame rides in the packet of the
    reference frame after it, the last packet of the group is an empty "not coded" picture, and most packets have no
    timestamp of their own.
    """
    plain = make_clip(path.with_name("plain.avi"), "mpeg4", frames=frames, bframes=bframes, **options)
    with av.open(str(plain)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        coded = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        runs: list[list[bytes]] = []
        for data in coded:
            kind = data[data.index(b"\0\0\1\xb6") + 4] >> 6  # vop_coding_type: 2 is a B-frame
            runs.append([data]) if kind != 2 else runs[-1].append(data)
        first = runs[0][0].index(b"\0\0\1\xb6")
        runs[0][0] = runs[0][0][:first] + b"\0\0\1\xb2DivX503b1234p" + runs[0][0][first:]
        # vop_coding_type 01, modulo 0, marker, 5 bits of time (25 ticks a second), marker, vop_coded 0, stuffing
        nothing = b"\0\0\1\xb6" + bytes([0b01010000, 0b01001111])
        packed = [part for run in runs for part in ([run[0] + run[1], *run[2:], nothing] if len(run) > 1 else run)]
        for at, data in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.dts, packet.time_base, packet.is_keyframe = (
                stream,
                at,
                Fraction(1, 25),
                data == runs[0][0],
            )
            container.mux(packet)
    plain.unlink()
    return path


def truth(path: Path, stream: int | None = None) -> list[Planes]:
    """Planes (Y, U, V) of every frame by the plainest decode there is, as stored (not turned); what stands before the
    first error. stream: number in the container, else the first video stream.
    """
    out: list[Planes] = []
    convert = VideoReformatter()
    try:
        with av.open(str(path)) as container:
            chosen = container.streams.video[0] if stream is None else container.streams[stream]
            frames: Any = container.decode(chosen)
            for frame in frames:
                out.append(planes_of(convert, frame))
    except av.FFmpegError:
        pass
    return out


def planes_of(convert: VideoReformatter, frame: VideoFrame) -> Planes:
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        plain = frame.format.name.startswith("yuv")
        full = 2 if frame.color_range == 2 and plain else 1
        space = {} if plain else {"dst_colorspace": Colorspace.ITU601}
        source = {"src_color_range": full} if plain else {}
        frame = convert.reformat(frame, format="yuv420p", interpolation=exact, dst_color_range=full, **source, **space)
    rows = [
        np.frombuffer(cast(Any, plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
        for plane in frame.planes
    ]
    return rows


def split(data: npt.NDArray[np.uint8], size: tuple[int, int]) -> Planes:
    """Y, U, V of one decoded frame [3 * rows / 2, cols], without what pads an odd size."""
    rows, cols = data.shape[0] * 2 // 3, data.shape[1]
    height, width = size
    flat = data.reshape(-1)
    luma, quarter = rows * cols, rows * cols // 4
    chroma = [flat[luma + at * quarter :][:quarter].reshape(rows // 2, cols // 2) for at in range(2)]
    return [
        flat[:luma].reshape(rows, cols)[:height, :width],
        *(plane[: (height + 1) // 2, : (width + 1) // 2] for plane in chroma),
    ]


def upright(planes: Planes, rotation: int, mirror: bool = False) -> Planes:
    turned = [np.rot90(plane, -rotation // 90) for plane in planes]
    return [plane[:, ::-1] for plane in turned] if mirror else turned


def same(left: Planes, right: Planes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def subsets(frames: int, seed: int, count: int) -> list[npt.NDArray[np.int64]]:
    """Windows, windows with gaps and scattered frames of a video; always its first and its last frame too."""
    rng = np.random.default_rng(seed)
    out = [np.array([0]), np.array([frames - 1]), np.arange(frames)]
    for _ in range(count):
        first = int(rng.integers(frames))
        window = np.arange(first, min(frames, first + int(rng.integers(1, 65))))
        out += [window, window[(window - first) % 24 < 16], np.sort(rng.choice(frames, min(frames, 5), replace=False))]
    return [numbers.astype(np.int64) for numbers in out]


def make_streams(path: Path, *clips: Path, default: int | None = None, attached: int | None = None) -> Path:
    """The video streams of several files in one, without encoding them again."""
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(av.open(str(clip))) for clip in clips]
        container = stack.enter_context(av.open(str(path), "w"))
        streams = [container.add_stream_from_template(source.streams.video[0]) for source in sources]
        for number, stream in enumerate(streams):
            stream.disposition = {default: Disposition.default, attached: Disposition.attached_pic}.get(
                number, Disposition(0)
            )
        packets: list[tuple[float, int, Any]] = []
        for number, source in enumerate(sources):
            coded: Any = [packet for packet in source.demux(video=0) if packet.size]
            packets += [(float(packet.dts * packet.time_base), number, packet) for packet in coded]
        for _, number, packet in sorted(packets, key=lambda one: one[:2]):
            packet.stream = streams[number]
            container.mux(packet)
    return path
