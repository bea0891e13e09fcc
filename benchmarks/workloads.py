"""What is measured: one VCOP tuple of 320 x 240 video, and clips that cost a decoder what real ones do."""

from __future__ import annotations

import inspect
import os
import shutil
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import plan
from vidssl.loader.graph_decoder import GraphDecoder, find_nvdec
from vidssl.pretext import Pretext, Vcop
from vidssl.types import ColorSpace, Frames, Plan, VidsslError

SIZE = (240, 320)  # height, width
MEAN, STD = (0.432, 0.394, 0.376), (0.228, 0.221, 0.216)
BT601 = np.array(
    [[1.164383, 0, 1.596027, -222.921], [1.164383, -0.391762, -0.812968, 135.576], [1.164383, 2.017232, 0, -276.836]]
)


def pretext() -> Pretext:
    """VCOP as published (3 clips of 16 frames out of 64; 112 x 112 of 128 x 171), normalised by mean and standard
    deviation.
    """
    return Vcop(augment=Augment(mean=MEAN, std=STD))


@lru_cache(maxsize=300)
def picture(number: int, size: tuple[int, int] = SIZE, *, noise: float = 2.0) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] of frame `number`: a panned textured ground, three moving things over it, and camera noise."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pan = x + 1.7 * number
    ground = (
        110
        + 40 * np.sin(pan / 23) * np.cos(y / 17 + number / 40)
        + 25 * np.sin((pan + 2 * y) / 7)
        + 12 * np.sin(pan * y / 900)
    )
    out = np.stack([ground, 0.8 * ground + 30, 150 - 0.5 * ground], axis=-1)
    for which in range(3):
        centre = (
            height * (0.5 + 0.35 * np.sin(number / (9 + 4 * which) + which)),
            width * (0.5 + 0.4 * np.cos(number / (13 + 3 * which))),
        )
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (height / 8) ** 2
        out[inside] = (
            np.array([[220, 60, 40], [40, 200, 90], [60, 80, 230]][which])
            + 20 * np.sin((x[inside] + y[inside]) / 3)[:, None]
        )
    out += np.random.default_rng(number).normal(0, noise, out.shape)
    shown: npt.NDArray[np.uint8] = np.clip(out, 0, 255).astype(np.uint8)
    return shown


def frames(count: int, size: tuple[int, int] = SIZE) -> tuple[Frames, list[VideoFrame]]:
    """The same planar YUV 4:2:0 frames twice: as decode gives them to assemble, and as PyAV gives them to swscale."""
    shown = [VideoFrame.from_ndarray(picture(n, size), format="rgb24").reformat(format="yuv420p") for n in range(count)]
    data = np.stack([frame.to_ndarray() for frame in shown])
    space = ColorSpace(to_rgb=BT601.astype(np.float32), chroma=(0.0, 0.5))
    return Frames(data=data, number=np.arange(count), size=size, space=space), shown


def planned(what: Pretext, sample: int = 0, size: tuple[int, int] = SIZE) -> Plan:
    """One tuple's plan; `frame` counts in the frames that it shows, ascending, as in the loader."""
    drawn = plan(what.plan, frames=what.plan.frames, size=size, seed=0, epoch=0, sample=sample)
    return drawn._replace(frame=np.searchsorted(np.unique(drawn.frame), drawn.frame).astype(np.int32))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How a clip is encoded by x264; None leaves x264's default (GOP 250, 3 B-frames, some of them references)."""

    name: str
    kilobits: int
    gop: int | None = None
    bframes: int | None = None
    size: tuple[int, int] = SIZE  # height, width
    frames: int = 300


_VP9 = {"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "0"}  # no hidden pictures
CLIPS = (
    Clip(name="x264_90kbit", kilobits=90),
    Clip(name="x264_800kbit", kilobits=800),
    Clip(name="x264_800kbit_gop16_nob", kilobits=800, gop=16, bframes=0),
    Clip(name="x264_2500kbit_720p", kilobits=2500, size=(720, 1280), frames=150),
)


QUICK = (Clip(name="short", kilobits=400, gop=16, bframes=0, frames=72),)  # to see that a benchmark runs
QUICK_LONG = replace(QUICK[0], name="short_96", frames=96)  # long enough for a window of every method


def encode(clip: Clip, folder: Path, *, rate: int = 25, codec: Literal["libx264", "libvpx-vp9"] = "libx264") -> Path:
    """`clip.frames` frames of `picture`, encoded in `folder`."""
    path = folder / f"{clip.name}.mp4"
    with av.open(os.fspath(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=_VP9 if codec == "libvpx-vp9" else {})
        stream.height, stream.width = clip.size
        stream.pix_fmt, stream.bit_rate = "yuv420p", clip.kilobits * 1000
        if clip.gop is not None:
            stream.gop_size = clip.gop
        if clip.bframes is not None:
            stream.max_b_frames = clip.bframes
        for number in range(clip.frames):
            container.mux(stream.encode(VideoFrame.from_ndarray(picture(number, clip.size), format="rgb24")))
        container.mux(stream.encode())
    return path


def made(clip: Clip, folder: Path, *, codec: Literal["libx264", "libvpx-vp9"] = "libx264") -> Path:
    """The encoded clip, alone in a folder in `folder`. One that was made there before, with the same settings and
    pictures, is taken.
    """
    about = f"{clip} {codec} {inspect.getsource(inspect.unwrap(picture))}"
    place = folder / f"{clip.name}-{zlib.crc32(about.encode()):08x}"
    if not place.exists():
        half = place.with_suffix(".part")  # what was cut off does not pass for a clip
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        encode(clip, half, codec=codec)
        half.rename(place)
    return place / f"{clip.name}.mp4"


def nvdec() -> GraphDecoder | None:
    """NVDEC of the first GPU; None where it cannot be had: says why, and that what it decodes is left out."""
    try:
        return find_nvdec(torch.device("cuda", 0))
    except VidsslError as error:
        print(f"left out, what NVDEC decodes: {error}")
        return None


def repeated(path: Path, copies: int, folder: Path) -> VideoIndex:
    """An index of one file, `copies` times: long epochs over one clip. The file is linked into the new `folder`."""
    folder.mkdir(parents=True)
    (folder / path.name).symlink_to(path.resolve())
    return VideoIndex.build(folder, progress=False).select(np.zeros(copies, dtype=int))
