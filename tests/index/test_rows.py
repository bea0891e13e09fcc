"""Numbers of rows: a mask is taken as a mask, and what names no row is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from vidssl import Mixture, VideoIndex, VidsslError
from vidssl.index.rows import check_rows


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("rows")
    for number in range(4):
        make_clip(root / f"{number}.avi", "mpeg4", frames=5 + number, size=(48, 64))
    return VideoIndex.build(root, progress=False)


@pytest.fixture(params=["built", "loaded", "part", "mixture"])
def kind(request: pytest.FixtureRequest, index: VideoIndex, tmp_path: Path) -> VideoIndex:
    """Four rows of 5, 6, 7 and 8 frames."""
    if request.param == "loaded":
        index.save(tmp_path / "index.arrow")
        return VideoIndex.load(tmp_path / "index.arrow")
    if request.param == "part":
        return index.select([3, 2, 1, 0]).select([3, 2, 1, 0])
    return Mixture({"all": index}) if request.param == "mixture" else index


def frames(index: VideoIndex) -> list[int]:
    return [index.frames(row) for row in range(len(index))]


def test_rows_and_masks_are_taken(kind: VideoIndex) -> None:
    mask = [False, True, False, True]
    for rows in (mask, np.array(mask), torch.tensor(mask), [1, 3], np.array([1, 3], np.uint8), torch.tensor([1, 3])):
        assert frames(kind.select(rows)) == [6, 8]
    assert frames(kind.select([2, 0, 2])) == [7, 5, 7]
    assert frames(kind.select(range(4))) == frames(kind.select([True] * 4)) == [5, 6, 7, 8]
    assert frames(kind.select([])) == frames(kind.select(np.zeros(4, bool))) == []


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([True, False], r"a mask of shape \[2\]: the index has rows 0\.\.3 \(4 rows\); take one bool for each"),
        (np.ones((4, 1), bool), r"a mask of shape \[4, 1\]"),
        ([1.7], r"float64 of shape \[1\]: take whole numbers"),
        ([999], r"999 is among them: the index has rows 0\.\.3 \(4 rows\)"),
        ([0, -1], r"-1 is among them"),
        (["a"], "take whole numbers"),
        ([[0, 1]], "take whole numbers"),
        ([[0], [1, 2]], "take whole numbers"),
        (None, "None: take whole numbers"),
        (2, "2: take whole numbers"),
        ({1}, "take whole numbers"),
        (slice(2), "take whole numbers"),
    ],
)
def test_what_names_no_rows_is_refused(kind: VideoIndex, rows: Any, why: str) -> None:
    with pytest.raises(VidsslError, match=rf"{type(kind).__name__}\.select: rows: .*{why}|select: rows: {why}"):
        kind.select(rows)


@pytest.mark.parametrize("row", [-1, 4, 1.0, "1", None, True, [1]])
def test_what_is_no_row_is_refused(kind: VideoIndex, row: Any) -> None:
    methods: list[Callable[[Any], object]] = [kind.video, kind.row, kind.motion, kind.frames]
    for method in methods:
        with pytest.raises(VidsslError, match=r"row=.*: the index has rows 0\.\.3"):
            method(row)


def test_an_index_without_rows_says_so(index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match=r"0 is among them: the index has no rows"):
        index.select([]).select([0])


def test_the_largest_numbers_are_refused() -> None:
    """They would become negative as int64."""
    with pytest.raises(VidsslError, match="18446744073709551615 is among them"):
        check_rows(np.array([2**64 - 1], np.uint64), 4, "select")
