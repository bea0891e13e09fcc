"""reduce equals the reference, up to the rounding of float32."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.kernels.workload import SIZES, make_frames
from vidssl import ops, reference
from vidssl.types import Frames, VidsslError, planar_shape

TO = [(128, 171), (112, 112), (1, 1), (227, 227), (36, 35)]


def planes(frames: Frames) -> list[np.ndarray]:
    return reference.planes(frames.data, frames.size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("to", TO)
@pytest.mark.parametrize("chroma", [(0.0, 0.5), (0.5, 0.5), (1.0, 0.0)])
def test_equals_reference(size: tuple[int, int], to: tuple[int, int], chroma: tuple[float, float]) -> None:
    frames = make_frames(np.random.default_rng(3), 2, size, True, chroma)
    out = ops.reduce(frames, to)
    assert (out.data.shape, out.size, out.space.chroma) == (planar_shape(2, to), to, (0.5, 0.5))
    for found, expected in zip(planes(out), reference.reduce(frames.data, size, chroma, to), strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 0.5 + 4e-3  # rounded to the nearest, after sums in float32


def test_odd_sides_are_repeated() -> None:
    out = ops.reduce(make_frames(np.random.default_rng(0), 3, (33, 47), True), (21, 17)).data
    luma = out[:, :22]
    assert np.array_equal(luma[:, 21], luma[:, 20])
    assert np.array_equal(luma[:, :, 17], luma[:, :, 16])


def test_same_size_keeps_the_picture() -> None:
    frames = make_frames(np.random.default_rng(1), 2, (48, 64), True, (0.5, 0.5))
    assert np.array_equal(ops.reduce(frames, (48, 64)).data, frames.data)


def test_chroma_stays_on_its_luma() -> None:
    """A colour edge and a luma edge at one place stay there, wherever the source has its chroma."""
    for cx in (0.0, 0.5, 1.0):
        data = np.full((1, 96, 128), 16, np.uint8)
        data[:, :64, 64:] = 235
        at = 2 * np.arange(64) + cx + 0.5  # luma coordinate of each chroma column
        row = np.clip(np.rint(128 + 100 * np.clip((at - 64) / 2 + 0.5, 0, 1)), 0, 255).astype(np.uint8)
        data[:, 64:] = np.tile(row, 2)
        frames = make_frames(np.random.default_rng(0), 1, (64, 128), True, (cx, 0.5))
        out = ops.reduce(Frames(data=data, number=frames.number, size=(64, 128), space=frames.space), (32, 64))
        luma, chroma, _ = planes(out)
        edge = np.interp(125.5, luma[0, 16].astype(float), np.arange(64) + 0.5)
        found = np.interp(178, chroma[0, 8].astype(float), 2 * np.arange(32) + 1.0)
        assert abs(edge - found) < 0.1, cx


def test_frames_apart_in_memory_and_out() -> None:
    frames = make_frames(np.random.default_rng(5), 6, (40, 52), True)
    apart = Frames(data=frames.data[::2], number=frames.number[::2], size=frames.size, space=frames.space)
    into = np.empty(planar_shape(3, (20, 30)), np.uint8)
    out = ops.reduce(apart, (20, 30), out=into)
    assert out.data is into
    assert np.array_equal(into, ops.reduce(frames, (20, 30)).data[::2])


def test_bodies_agree() -> None:
    """All SIMD bodies that this processor has give the same bits."""
    code = """
import hashlib, numpy as np
from tests.kernels.workload import SIZES, make_frames
from vidssl import ops
total = hashlib.sha256()
for size in SIZES:
    for to in [(128, 171), (17, 33), (5, 3)]:
        total.update(ops.reduce(make_frames(np.random.default_rng(0), 2, size, True), to).data.tobytes())
print(total.hexdigest())
"""
    found = set()
    for body in ("plain", "avx2", "avx512"):
        ran = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "VIDSSL_SIMD": body}, capture_output=True, text=True
        )
        if ran.returncode and "this processor has no" in ran.stderr:
            continue
        assert ran.returncode == 0, ran.stderr
        found.add(ran.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size": (0, 3)}, "size="),
        ({"size": (2, 3, 4)}, "size="),
        ({"out": np.zeros((2, 3, 2), np.uint8)}, "out"),
        ({"frames": np.zeros((2, 6, 4, 3), np.uint8)}, "frames"),
        ({"frames": make_frames(np.random.default_rng(0), 2, (8, 8), False)}, "frames"),
    ],
)
def test_wrong_arguments(change: dict[str, object], named: str) -> None:
    good: dict[str, object] = {"frames": make_frames(np.random.default_rng(0), 2, (8, 8), True), "size": (4, 4)}
    with pytest.raises(VidsslError, match=named):
        ops.reduce(**(good | change))  # type: ignore[arg-type]
