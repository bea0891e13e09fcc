"""Low-level features: their values on made pictures, their cache, and the rows that they add to a table."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vidssl import FrameStore, VideoIndex
from vidssl.evaluate import low_level
from vidssl.evaluate.low_level import (
    BINS,
    DIRECTIONS,
    GRID,
    LONGEST,
    SIZE,
    STRETCHES,
    colour_histogram,
    flow_histogram,
    frame_difference,
    low_level_features,
    stretches_of,
)
from vidssl.types import Frames
from vidssl.video.decode import Video, decode


def planes(luma: np.ndarray, chroma: int = 128) -> np.ndarray:
    out = np.full((len(luma), SIZE[0] * 3 // 2, SIZE[1]), chroma, np.uint8)
    out[:, : SIZE[0]] = luma
    return out


def test_the_frame_difference_says_where_and_when_it_changes() -> None:
    luma = np.zeros((3, *SIZE), np.uint8)
    luma[1, :4, :4] = 200  # the first cell, for one frame
    still = np.zeros((3, *SIZE), np.uint8)
    found = frame_difference([planes(still), planes(luma), planes(still), planes(still)]).reshape(STRETCHES, *GRID)
    assert found[1, 0, 0] == pytest.approx(np.log(200.1), abs=1e-5)
    found[1, 0, 0] = np.log(0.1)
    np.testing.assert_allclose(found, np.log(0.1), atol=1e-6)


def test_the_histogram_counts_colours() -> None:
    luma = np.zeros((2, *SIZE), np.uint8)
    luma[:, :, : SIZE[1] // 4] = 255
    found = colour_histogram([planes(luma)] * STRETCHES).reshape(STRETCHES, 3, BINS)
    np.testing.assert_allclose(found.sum(2), 1, atol=1e-6)
    assert found[2, 0, 0] == 0.75
    assert found[2, 0, -1] == 0.25
    assert found[2, 1, BINS // 2] == found[2, 2, BINS // 2] == 1


def test_the_flow_goes_where_the_picture_goes() -> None:
    pytest.importorskip("cv2")
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = np.stack([128 + 60 * np.sin((x - 2 * at) / 7) + 60 * np.sin(y / 5) for at in range(4)]).astype(np.uint8)
    kinds = flow_histogram([planes(frames)] * STRETCHES).reshape(STRETCHES, -1, DIRECTIONS + 1).sum((0, 1))
    assert int(kinds.argmax()) in (0, DIRECTIONS - 1)  # to the right


def test_all_frames_of_a_short_video_are_seen(index: VideoIndex) -> None:
    video = index.video(int(index.usable(30)[0]))
    seen = stretches_of(video)
    assert sum(len(part) - 1 for part in seen) == video.frames - 1 <= STRETCHES * LONGEST
    for before, after in pairwise(seen):
        np.testing.assert_array_equal(before[-1], after[0])


def test_frames_of_a_native_store_are_not_decoded_again(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, decoded = index.usable(30)[:2], list[Video]()
    native, small = FrameStore(tmp_path / "native", "native"), FrameStore(tmp_path / "small", (24, 32))
    for store in (native, small):
        assert not store.fill(index.select(rows[:1]), workers=1, progress=False)
    expected = [stretches_of(index.video(int(row))) for row in rows]

    def count(video: Video, numbers: npt.NDArray[np.int64]) -> Frames:
        decoded.append(video)
        return decode(video, numbers)

    monkeypatch.setattr(low_level, "decode", count)
    for store, times in ((native, [0, 1]), (small, [1, 1])):  # of the second video nothing is kept
        for row, right, often in zip(rows, expected, times, strict=True):
            decoded.clear()
            for found, wanted in zip(stretches_of(index.video(int(row)), store), right, strict=True):
                np.testing.assert_array_equal(found, wanted)
            assert len(decoded) == often


def test_features_of_a_full_native_store_need_no_decoding(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = index.usable()
    store = FrameStore(tmp_path / "native", "native")
    assert not store.fill(index, workers=1, progress=False)
    made = low_level_features(tmp_path / "a", index, rows, progress=False)
    monkeypatch.delattr(low_level, "decode")
    again = low_level_features(tmp_path / "b", index, rows, store=store, progress=False)
    for name, features in made.items():
        assert again[name].feature.equal(features.feature)


def test_features_are_cached_and_opencv_is_not_needed(
    index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # as where it is not installed
    rows = index.usable()
    made = low_level_features(tmp_path, index, rows, progress=False)
    assert set(made) == {"frame difference", "colour histogram"}
    assert made["frame difference"].feature.shape == (len(rows), STRETCHES * GRID[0] * GRID[1])

    def none_is_read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(low_level, "stretches_of", none_is_read)
    again = low_level_features(tmp_path, index, rows, progress=False)
    for name, features in made.items():
        assert again[name].feature.equal(features.feature)
