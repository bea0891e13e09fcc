"""Frames that are reduced right after decoding are those of `reduce`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import make_clip
from vidssl import VideoIndex, ops
from vidssl.kernels.decode_reduce import Reducer
from vidssl.native import kernels
from vidssl.types import VidsslError, planar_shape
from vidssl.video.decode import decode, decode_to


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"size": (50, 66), "rotation": 90.0},
        {"rotation": 180.0},
        {"form": "yuv444p"},
        {"codec": "ffv1", "form": "yuv420p", "size": (47, 61)},
    ],
)
@pytest.mark.parametrize("size", [(24, 31), (100, 80)])
def test_same_bits(made: dict[str, Any], size: tuple[int, int], tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mkv", frames=20, **made)
    video = VideoIndex.build(tmp_path, progress=False).video(0)
    numbers = np.arange(0, 20, 3)
    out = np.full(planar_shape(len(numbers), size), 77, np.uint8)
    decode_to(Reducer(video, size, out), video, numbers)
    assert np.array_equal(out, ops.reduce(decode(video, numbers), size).data)


OUT = np.zeros(planar_shape(2, (20, 30)), np.uint8)
Y, U = np.zeros((48, 64), np.uint8), np.zeros((24, 32), np.uint8)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"position": 2}, "position=2: take 0..1"),
        ({"position": -1}, "position=-1"),
        ({"y": Y[:40]}, "y: its 2560 bytes cannot hold 48 lines"),
        ({"v": None}, "v is a NoneType"),
        ({"luma_stride": 63}, "y: its"),
        ({"luma_stride": 10**9}, "luma_stride=1000000000"),
    ],
)
def test_wrong_planes(change: dict[str, object], named: str) -> None:
    good = {"position": 0, "y": Y, "u": U, "v": U, "luma_stride": 64, "chroma_stride": 32}
    reducer = kernels.FrameReducer(48, 64, [0.5, 0.5], 20, 30, OUT)
    reducer.reduce(**good)
    with pytest.raises(VidsslError, match=named):
        reducer.reduce(**(good | change))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 64, [0.5, 0.5], 20, 30, OUT), "size="),
        ((48, 64, [0.5, np.nan], 20, 30, OUT), "chroma="),
        ((48, 64, [0.5, 0.5], 20, 0, OUT), "to="),
        ((48, 64, [0.5, 0.5], 22, 30, OUT), "out"),
        ((48, 64, [0.5, 0.5], 20, 30, OUT.astype(np.int8)), "out"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        kernels.FrameReducer(*arguments)


def test_planes_must_not_overlap_the_output() -> None:
    memory = np.zeros(48 * 64 + OUT.size, np.uint8)
    reducer = kernels.FrameReducer(48, 64, [0.5, 0.5], 20, 30, memory[1000 : 1000 + OUT.size].reshape(OUT.shape))
    with pytest.raises(VidsslError, match="out: it overlaps"):
        reducer.reduce(0, memory[: 48 * 64], U, U, 64, 32)
