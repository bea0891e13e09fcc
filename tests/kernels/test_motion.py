"""motion equals the reference bit for bit."""

from typing import Any

import numpy as np
import pytest

from tests.kernels.workload import SIZES, make_frames
from vidssl import ops, reference
from vidssl.kernels.motion import LumaChange
from vidssl.types import VidsslError


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("yuv", [True, False])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_equals_reference(size: tuple[int, int], yuv: bool, count: int) -> None:
    frames = make_frames(np.random.default_rng(count), count, size, yuv)
    found, expected = ops.motion(frames), reference.motion(frames.data, size)
    assert np.array_equal(found.sad, expected[0])
    assert np.array_equal(found.thumb, expected[1])


def test_a_moving_square_is_seen_where_it_moves() -> None:
    frames = np.zeros((3, 64, 64, 3), dtype=np.uint8)
    frames[1:, 16:32, 32:48] = 200
    sad, _ = ops.motion(frames)
    assert sad[0, 1, 2] == 256 * ((220 * 200 + 128) >> 8)  # every sample of the cell
    assert sad.sum() == sad[0, 1, 2]


def test_no_frames() -> None:
    sad, thumb = ops.motion(np.zeros((0, 32, 32, 3), dtype=np.uint8))
    assert sad.shape == (0, 2, 2)
    assert thumb.shape == (0, 16, 16)


def test_frames_apart_in_memory() -> None:
    """The first axis may be strided: every second frame of a longer window, without a copy."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 48, 32), dtype=np.uint8)
    apart, copied = ops.motion(frames[::2]), ops.motion(frames[::2].copy())
    assert np.array_equal(apart.sad, copied.sad)
    assert np.array_equal(apart.thumb, copied.thumb)


def test_rgb_made_of_planes_scores_as_the_planes() -> None:
    """A decoder that gives RGB converts by BT.601's limited range: its luma is the Y plane's again, to within the
    rounding of both.
    """
    luma = np.repeat(np.arange(16, 236, dtype=np.uint8), 256).reshape(1, 220, 256)
    grey = np.repeat(np.rint((luma.astype(np.float64) - 16) * 255 / 219)[..., None], 3, axis=3).astype(np.uint8)
    again = reference.luma(grey, (220, 256))
    assert abs(again - luma.astype(np.int64)).max() <= 1


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (3, 7), (6, 9), (13, 31)])
def test_frames_one_by_one_give_the_sums_of_the_cells(size: tuple[int, int]) -> None:
    height, width = size
    frames = make_frames(np.random.default_rng(3), 5, size, yuv=True)
    expected = reference.motion(frames.data, size)[0].sum(axis=(1, 2), dtype=np.int64)
    change = LumaChange(size)
    found = [change.add(frame[:height, :width]) for frame in frames.data]
    assert found[1:] == expected.tolist()
    assert found[0] == frames.data[0, :height, :width].sum(dtype=np.int64)


def test_luma_of_another_layout_is_refused() -> None:
    change = LumaChange((8, 12))
    wrongs: list[Any] = [np.zeros((8, 8), np.uint8), np.zeros((8, 12), np.int8), np.zeros((12, 8), np.uint8).T]
    for wrong in wrongs:
        with pytest.raises(VidsslError, match=r"luma|sums"):
            change.add(wrong)
