"""seal: damage is found before it is read and costs only what it hit; a file may be replaced, but not changed."""

from __future__ import annotations

import os
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from tests.fuzz.test_index import row_of, rows
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "index.arrow"
    VideoIndex(rows(300), tmp_path).save(path)
    return path


def refused(path: Path) -> str:
    """Why an index is not opened; "" where it is."""
    try:
        VideoIndex.load(path)
    except VidsslError as error:
        return str(error)
    return ""


def test_other_readers_of_arrow_files_open_it(saved: Path) -> None:
    for table in (feather.read_table(saved), pa.ipc.open_file(pa.memory_map(str(saved))).read_all()):
        assert table.replace_schema_metadata(None).equals(rows(300))


def test_it_adds_little(saved: Path, tmp_path: Path) -> None:
    table = rows(300)
    with pa.ipc.new_file(str(tmp_path / "plain.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert saved.stat().st_size < 1.05 * (tmp_path / "plain.arrow").stat().st_size


def test_an_index_of_no_rows_can_be_read(tmp_path: Path) -> None:
    VideoIndex(rows(0), tmp_path).save(tmp_path / "none.arrow")
    again = VideoIndex.load(tmp_path / "none.arrow")
    assert (len(again), again.table.num_rows, again.labels.tolist()) == (0, 0, [])


def test_an_index_has_the_same_bytes_in_whatever_order_its_rows_came(saved: Path, tmp_path: Path) -> None:
    order, table, rng = np.random.default_rng(0).permutation(300), rows(300), np.random.default_rng(1)
    cuts = [0, 0, *sorted(rng.integers(0, 300, 20).tolist()), 300]
    pieces = [table.slice(first, end - first) for first, end in pairwise(cuts)]
    singles = [pa.Table.from_pylist([row], table.schema) for row in table.to_pylist()]
    shuffled = pa.concat_tables([singles[row] for row in order])
    for number, one in enumerate(
        (
            pa.concat_tables(pieces),
            pa.concat_tables(singles),
            shuffled.take(np.argsort(order)),
            VideoIndex.load(saved).table,
            pa.concat_tables([table.schema.empty_table(), table]),
        )
    ):
        VideoIndex(one, tmp_path).save(tmp_path / f"{number}.arrow")
        assert (tmp_path / f"{number}.arrow").read_bytes() == saved.read_bytes()


def test_a_damaged_bit_costs_one_row_or_two(saved: Path) -> None:
    """Two where it is in an offset: it ends one row and begins the next. The whole column is refused, other columns are
    not.
    """
    whole, good = saved.read_bytes(), VideoIndex.load(saved)
    right = [row_of(good, row) for row in range(300)]
    hit = 0
    for at in range(2000, len(whole) - 20_000, len(whole) // 60):
        saved.unlink()
        saved.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        if any(f"column '{name}'" in refused(saved) for name in ("status", "frames", "path", "archive")):
            continue  # all of these are read when it is opened
        index = VideoIndex.load(saved)
        wrong = [row for row in range(300) if row_of(index, row) != right[row]]
        assert len(wrong) <= 2
        for row in wrong:
            assert (
                f"its row {row} is damaged; delete it and build it again with `vidssl index {saved.parent}"
                in row_of(index, row)
            )
        if wrong:
            with pytest.raises(VidsslError, match=r"its column '\w+' is damaged"):
                _ = index.table
        hit += bool(wrong)
    assert hit > 10


def test_rows_of_undamaged_batches_are_read(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidssl.index.table._BATCH", 100)
    VideoIndex(rows(300), tmp_path).save(saved)
    whole = saved.read_bytes()
    at = whole.index("röws/00150".encode())
    saved.write_bytes(whole[:at] + b"R" + whole[at + 1 :])
    assert "its column 'path' is damaged" in refused(
        saved
    )  # all paths are read to see whether one leads out of the root
    index = VideoIndex.load(saved, allow_outside=True)
    assert index.select([299, 0, 42]).column("path").to_pylist() == [f"röws/{row:05}.mp4" for row in (299, 0, 42)]
    assert index.select([299, 0, 42]).table.equals(rows(300).take([299, 0, 42]))
    with pytest.raises(VidsslError, match="its column 'path' is damaged"):
        index.select([199]).column("path")
    assert index.column("label").to_pylist() == rows(300)["label"].to_pylist()


@pytest.mark.parametrize("how", ["cut", "written over"])
def test_a_file_changed_in_place_is_named(how: str, saved: Path) -> None:
    index = VideoIndex.load(saved)
    assert index.video(1).frames > 0
    if how == "cut":
        os.truncate(saved, 4096)
    else:
        saved.write_bytes(saved.read_bytes()[::-1])
    for read in (lambda: index.video(1), lambda: index.column("path"), lambda: index.table):
        with pytest.raises(VidsslError, match=r"index\.arrow.*changed in place.*renaming"):
            read()


def test_a_file_may_be_replaced_while_it_is_open(saved: Path) -> None:
    index = VideoIndex.load(saved)
    VideoIndex(rows(5), saved.parent).save(saved)
    assert index.table.equals(rows(300))
    assert [row_of(index, row) for row in range(5)] == [row_of(VideoIndex.load(saved), row) for row in range(5)]
    saved.unlink()
    assert index.select([299]).column("path").to_pylist() == ["röws/00299.mp4"]


def test_an_index_goes_to_another_process(saved: Path) -> None:
    part = pickle.loads(pickle.dumps(VideoIndex.load(saved).select(np.arange(20, 30))))
    assert part.table.equals(rows(300)[20:30])
