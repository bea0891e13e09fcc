"""Which rows of an earlier index are taken again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.clips import make_clip
from vidssl import VideoIndex
from vidssl.index.schema import SCHEMA
from vidssl.index.sources import find_videos
from vidssl.index.unchanged import rows_of_unchanged, taken


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for name in "abcd":
        make_clip(root / f"{name}.mp4", frames=6)
    return VideoIndex.build(root, progress=False)


def changed(table: pa.Table, **values: object) -> pa.Table:
    """A table whose rows all have these values."""
    for name, value in values.items():
        column = pa.array([value] * len(table), SCHEMA.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), column)
    return table


def test_unchanged_files_have_a_row(seen: VideoIndex) -> None:
    found = find_videos(seen.root).videos
    assert rows_of_unchanged(seen.root, found, seen.table, None).tolist() == [0, 1, 2, 3]
    assert rows_of_unchanged(seen.root, found[::-1], seen.table, None).tolist() == [3, 2, 1, 0]
    assert rows_of_unchanged(seen.root, found, seen.table, 0).tolist() == [-1] * 4  # of another stream
    assert rows_of_unchanged(seen.root, found, SCHEMA.empty_table(), None).tolist() == [-1] * 4


@pytest.mark.parametrize("values", [{"bytes": 1}, {"mtime_ns": 1}, {"number": 0}, {"offset": 0}, {"archive": "a.tar"}])
def test_a_row_that_differs_is_not_taken(seen: VideoIndex, values: dict[str, object]) -> None:
    found, table = find_videos(seen.root).videos, seen.table
    mixed = pa.concat_tables([changed(table[:2], **values), table[2:]])
    assert rows_of_unchanged(seen.root, found, mixed, None).tolist() == [-1, -1, 2, 3]


def test_of_several_rows_the_last_one_that_fits_is_taken(seen: VideoIndex) -> None:
    """Later rows may be of the file as it was in between, or before."""
    found, table = find_videos(seen.root).videos, seen.table
    twice = pa.concat_tables([table, table])
    assert rows_of_unchanged(seen.root, found, twice, None).tolist() == [4, 5, 6, 7]
    then = pa.concat_tables([table, changed(table[:3], mtime_ns=1), changed(table[:1], bytes=2)])
    assert rows_of_unchanged(seen.root, found, then, None).tolist() == [0, 1, 2, 3]


def test_a_file_that_is_gone_or_new_has_none(tmp_path: Path) -> None:
    for name in "ab":
        make_clip(tmp_path / f"{name}.mp4", frames=6)
    table, found = VideoIndex.build(tmp_path, progress=False).table, find_videos(tmp_path).videos
    (tmp_path / "a.mp4").unlink()
    make_clip(tmp_path / "c.mp4", frames=6)
    assert rows_of_unchanged(tmp_path, found, table, None).tolist() == [-1, 1]
    assert rows_of_unchanged(tmp_path, find_videos(tmp_path).videos, table, None).tolist() == [1, -1]
    os.utime(tmp_path / "b.mp4", ns=(1, 1))
    assert rows_of_unchanged(tmp_path, found, table, None).tolist() == [-1, -1]


def test_all_rows_in_order_are_not_copied(seen: VideoIndex) -> None:
    """So an index that is brought up to date without a change stays the mapped file that it was."""
    table = seen.table
    assert taken(table, np.arange(4)) is table
    assert taken(table, np.array([0, 1, 3])).equals(pa.concat_tables([table[:2], table[3:]]))
    assert taken(table, np.array([1, 0, 2, 3]))["path"].to_pylist() == ["b.mp4", "a.mp4", "c.mp4", "d.mp4"]
