"""The journal gives the rows of whole records alone, whatever has happened to its file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from tests.clips import make_clip
from tests.fuzz.test_index import rows
from vidssl import VideoIndex, VidsslError
from vidssl.index.journal import Journal
from vidssl.index.schema import SCHEMA

# Bits whose change a CRC-32 does not see: its polynomial, in the order of zlib.
BLIND = ((0xEDB88320 << 1) | 1).to_bytes(5, "little")


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, bytes, pa.Table]:
    """A journal of three records of eight rows."""
    path, table = tmp_path / "journal", rows(24)
    with Journal(path, SCHEMA) as book:
        book.add(table.to_batches(max_chunksize=8))
    return path, path.read_bytes(), table


def test_a_full_disk_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the rows of an earlier call are written again, as the end of the file is damaged."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, batches = tmp_path / "journal", rows(16).to_batches(max_chunksize=8)
    for before, said in ((0, "no row is kept yet"), (1, "the rows before are kept, and the same command continues")):
        with Journal(path, SCHEMA) as book, monkeypatch.context() as patched:
            book.add(batches[:before])
            patched.setattr("vidssl.paths.GrowingFile.write", full)
            with pytest.raises(VidsslError, match=f"name another file; {said}$"):
                book.add(batches[1:])
        assert Journal(path, SCHEMA).found.num_rows == 8 * before
    path.write_bytes(path.read_bytes() + b"cut")
    with monkeypatch.context() as patched:
        patched.setattr("vidssl.paths.GrowingFile.write", full)
        with pytest.raises(VidsslError, match="the rows before are kept"), Journal(path, SCHEMA):
            pass
    assert Journal(path, SCHEMA).found.num_rows == 8


def test_a_zeroed_tail_gives_the_records_before_it(whole: tuple[Path, bytes, pa.Table]) -> None:
    """A power cut leaves zeros where the disk had not written yet."""
    path, data, table = whole
    counts = []
    for at in range(0, len(data), 41):
        path.write_bytes(data[:at] + bytes(len(data) - at))
        found = Journal(path, SCHEMA).found
        assert found.equals(table[: found.num_rows])
        counts.append(found.num_rows)
    assert counts == sorted(counts)
    assert set(counts) >= {0, 8, 16}


def test_damage_that_a_crc_does_not_see_is_seen(whole: tuple[Path, bytes, pa.Table]) -> None:
    path, data, table = whole
    for at in range(len(data) // 3 + 900, len(data) // 2, 61):  # in the second record
        damaged = bytearray(data)
        for offset, bits in enumerate(BLIND):
            damaged[at + offset] ^= bits
        path.write_bytes(damaged)
        assert Journal(path, SCHEMA).found.equals(pa.concat_tables([table[:8], table[16:]]))


def test_a_record_of_no_rows_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", SCHEMA) as book:
        book.add(rows(0).to_batches() or [pa.RecordBatch.from_pylist([], SCHEMA)])
    assert Journal(tmp_path / "journal", SCHEMA).found.num_rows == 0


def test_a_journal_without_rows_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ends in an exception before any row is kept leaves nothing."""
    make_clip(tmp_path / "a.mp4", frames=5)

    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("vidssl.index.build.make_row", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        VideoIndex.build(tmp_path, journal=tmp_path / ".i.partial", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_whole_journal_is_mapped_and_appended_to(whole: tuple[Path, bytes, pa.Table]) -> None:
    """It is neither read into memory nor copied; one with other bytes in it is written anew, without them."""
    path, data, table = whole
    file = path.stat().st_ino
    before = pa.total_allocated_bytes()
    with Journal(path, SCHEMA) as book:
        assert pa.total_allocated_bytes() - before < len(data) / 2
        assert path.stat().st_ino == file
        book.add(table[:8].to_batches())
        assert book.found.equals(table)  # what was found stays as it was
    assert path.read_bytes()[: len(data)] == data
    assert Journal(path, SCHEMA).found.equals(pa.concat_tables([table, table[:8]]))
    path.write_bytes(b"other" + data)
    with Journal(path, SCHEMA) as book:
        assert book.found.equals(table)
        assert path.stat().st_ino != file
    assert path.read_bytes() == data


def test_a_journal_that_is_a_link_gets_a_file_of_its_own(whole: tuple[Path, bytes, pa.Table]) -> None:
    path, data, table = whole
    for name in ("symbolic", "hard"):
        other = path.with_name(name)
        other.symlink_to(path) if name == "symbolic" else other.hardlink_to(path)
        with Journal(other, SCHEMA) as book:
            book.add(table[:8].to_batches())
        assert path.read_bytes() == data
        assert Journal(other, SCHEMA).found.num_rows == 32
