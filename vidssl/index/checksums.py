"""Checksums within an Arrow file, so that a damaged file causes an error and never a crash.

Arrow trusts the offsets in a file's buffers and reads wherever they point. This module therefore adds a block of CRC-32
checksums to the file, and compares them before Arrow uses the data:

- one for everything that states where buffers lie; it is compared before Arrow opens the file;
- one for each column of each record batch; it is compared before the column is first read as a whole (a column of
  large_binary, which holds frames, has none: it may be read only row by row);
- one for each row, over the bytes of all its columns; it is compared before the row is first read alone.

The block depends on the types of the schema, not on the names of columns. It lies between the last record batch and the
footer, where Arrow never looks, so any reader of Arrow files can still open the file. Its parts, all little-endian:

| part | content |
|---|---|
| uint32 [rows] | checksum of each row |
| uint32 [batches, columns] | checksum of each column of each record batch |
| zeros | padding of the two parts above to a multiple of 8 bytes |
| int64 [batches, 2] | offset and length in bytes of each batch's message |
| 8 bytes | the magic "vid.seal" |
| uint64 | number of rows |
| uint32, uint32 | number of record batches, number of columns |
| uint32 | checksum of the structure: the footer up to the end of the file, then each batch's message |
| uint32 | checksum of all parts above |

Replace a mapped file only by renaming another file to its name; readers of the old file do not notice that. If the file
is changed in place, reading it raises an error from then on. If the file is truncated in place at the moment of a read,
the process ends with SIGBUS, as with any mapped file.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.native import kernels
from vidssl.types import VidsslError

_SMALL = 2**16
_crc32 = getattr(kernels, "crc32", zlib.crc32)  # of many bytes; only some processors have the former

# The last parts of the block, from the magic on.
_TAIL = struct.Struct("<8sQIIII")
_MAGIC = b"vid.seal"
ARROW = b"ARROW1"  # at both ends of a whole Arrow file
_END = 4 + len(ARROW)  # bytes of the footer's length and of Arrow's mark
_SCHEMA = 8  # offset of the first message, the schema; the record batches follow it

# Called with (first row, row after the last, list); appends the bytes of these rows to the list.
_Part = Callable[[int, int, list[memoryview | bytes]], None]


class ChangedError(VidsslError):
    """A mapped file was changed in place, so it must not be read any more."""


class ChecksummedWriter:
    """Writes record batches to an Arrow file with checksums.

    Args:
        aside: A temporary file, which the caller renames after `close`.
        schema: Of the record batches.

    Raises:
        OSError: The file cannot be written. The other methods raise this too.
    """

    def __init__(self, aside: Path, schema: pa.Schema) -> None:
        self._aside, self._ends = aside, list[int]()
        self._file = pa.OSFile(str(aside), "wb")
        self._writer = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a record batch."""
        self._writer.write_batch(batch)
        self._ends.append(self._file.tell())

    def close(self) -> None:
        """Completes the file."""
        self._writer.close()
        self._file.close()
        with self._aside.open("r+b") as whole:
            data = memoryview(mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ))
            footer = bytes(data[_footer(data) :])
            seal = _seal(data, self._ends, footer)
            whole.seek(-len(footer), os.SEEK_END)
            whole.write(seal + footer)


def write_checksummed(aside: Path, table: pa.Table, rows: int) -> None:
    """Write a table as an Arrow file with checksums.

    Equal tables become the same bytes, in however many chunks they are.

    Args:
        aside: A temporary file, which the caller renames afterwards.
        table: The table.
        rows: Number of rows per record batch.

    Raises:
        OSError: The file cannot be written.
    """
    writer = ChecksummedWriter(aside, table.schema)
    for first in range(0, len(table), rows):
        for batch in table.slice(first, rows).combine_chunks().to_batches():
            writer.write(batch)
    writer.close()


def _seal(data: memoryview, ends: list[int], footer: bytes) -> bytes:
    """The checksum block of a written Arrow file whose record batches end at the offsets `ends`."""
    reader = pa.ipc.open_file(pa.py_buffer(data))
    batches = [reader.get_batch(at) for at in range(reader.num_record_batches)]
    places = [_SCHEMA + _length(data, _SCHEMA), *ends][: len(batches)]
    messages = np.array([(place, _length(data, place)) for place in places], "<i8").reshape(-1, 2)
    rows = [
        _sum(parts, at, at + 1) for batch in batches for parts in [_parts(batch.columns)] for at in range(len(batch))
    ]
    columns = [
        0 if _large(column.type) else _sum(_parts([column]), 0, len(column))
        for batch in batches
        for column in batch.columns
    ]
    body = np.array([*rows, *columns], "<u4").tobytes()
    body += bytes(-len(body) % 8) + messages.tobytes()
    structure = _structure(data, messages, footer)
    head = _TAIL.pack(_MAGIC, len(rows), len(batches), len(reader.schema), structure, 0)[:-4]
    return body + head + struct.pack("<I", zlib.crc32(head, zlib.crc32(body)))


def _large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_binary(kind))


def _length(data: memoryview, place: int) -> int:
    """Length in bytes of the message at an offset: a mark, the length of the rest, and the rest."""
    return 8 + int.from_bytes(data[place + 4 : place + 8], "little")


def _footer(data: memoryview) -> int:
    """Offset of the footer of an Arrow file. Raises ValueError if the end of the file is damaged."""
    if len(data) < len(ARROW) + _END or data[-len(ARROW) :] != ARROW:
        raise ValueError("not an Arrow file, or its end is missing")
    place = len(data) - _END - int.from_bytes(data[-_END : -len(ARROW)], "little")
    if place < len(ARROW):
        raise ValueError("its end is damaged")
    return place


def _structure(data: memoryview, messages: npt.NDArray[np.int64], footer: bytes | memoryview) -> int:
    """Checksum of everything that states where buffers lie and how long they are."""
    found = zlib.crc32(footer)
    for place, length in messages.tolist():
        found = zlib.crc32(data[place : place + length], found)
    return found


class ChecksummedFile:
    """A file that `write_checksummed` wrote, mapped into memory.

    Args:
        path: The file.
        hint: The command that builds the file again, for error messages.
        mark: Bytes in the schema of every file of this kind. Only a file that has them is one of ours, which a message
            may tell to delete.

    Attributes:
        footer: The bytes of the file's footer, unchecked.
        metadata: Of the schema; empty until `open`.

    Raises:
        OSError: The file cannot be opened.
        VidsslError: The file does not end as an Arrow file does.
    """

    def __init__(self, path: Path, hint: str, mark: bytes) -> None:
        self.path, self.hint, self._mark = path, hint, mark
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        self._descriptor, self._state = descriptor, _state(descriptor)
        self._data = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if self._state[0] else b"")
        try:
            self._footer = _footer(self._data)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        self.footer = bytes(self._data[self._footer :])
        self.metadata: dict[bytes, bytes] = {}

    @property
    def mapping(self) -> memoryview:
        """The mapped file."""
        return self._data

    def open(self) -> pa.Table:
        """Return the table, whose rows may be read only one by one, each after `check_row`; damaged rows crash Arrow.

        Raises:
            VidsslError: The checksums or the structure of the file are damaged.
        """
        data, tail = self._data, self._footer - _TAIL.size
        if tail < 0 or bytes(data[tail:][: len(_MAGIC)]) != _MAGIC:
            raise self._damaged("its checksums are missing")
        rows, batches, columns, structure, seal = _numbers(data, tail)
        sums = 4 * (rows + batches * columns)
        body = tail - sums - -sums % 8 - 16 * batches
        if body < 0 or zlib.crc32(data[body : self._footer - 4]) != seal:
            raise self._damaged("its checksums are damaged")
        messages = np.frombuffer(data[tail - 16 * batches :], "<i8", 2 * batches).reshape(-1, 2)
        if _structure(data, messages, self.footer) != structure:
            raise self._damaged("its structure is damaged")
        reader = pa.ipc.open_file(pa.py_buffer(data))
        self.metadata = reader.schema.metadata or {}
        self._batches = [reader.get_batch(at) for at in range(batches)]
        self._table = pa.Table.from_batches(self._batches, reader.schema).replace_schema_metadata(None)
        self._row_sums = np.frombuffer(data[body:], "<u4", rows)
        self._column_sums = np.frombuffer(data[body + 4 * rows :], "<u4", batches * columns).reshape(batches, columns)
        self._ends = np.cumsum([len(batch) for batch in self._batches], dtype=np.int64)
        self._parts: dict[int, list[_Part]] = {}  # for each batch with a checked row
        self._whole = np.zeros((batches, columns), bool)  # columns that are checked
        self._good = np.zeros(rows, bool)  # rows that are checked
        return self._table

    def columns(self, names: list[str], rows: npt.NDArray[np.int64] | None = None) -> pa.Table:
        """Return columns of some rows, after comparing their checksums.

        Only the record batches that hold these rows are read; each is compared as a whole.

        Args:
            names: Names of the columns.
            rows: int64 [N], the rows. None takes all.

        Raises:
            VidsslError: A column is damaged, or the file was changed in place.
        """
        self.check_unchanged()
        if rows is None:
            self._compare(names, range(len(self._batches)))
            return self._table.select(names)
        used, place = np.unique(np.searchsorted(self._ends, rows, side="right"), return_inverse=True)
        self._compare(names, used.tolist())
        schema = pa.schema([self._table.field(name) for name in names])
        some = pa.Table.from_batches([self._batches[at].select(names) for at in used], schema)
        lengths = np.diff(self._ends, prepend=0)[used]
        before = self._ends[used] - np.cumsum(lengths)  # number of rows in earlier, unused batches
        return some.take(pa.array(rows - before[place]))

    def _compare(self, names: list[str], batches: Iterable[int]) -> None:
        for at in batches:
            for name in names:
                column = self._table.schema.get_field_index(name)
                assert not _large(self._table.schema.field(column).type), f"{name}: read it row by row"
                if not self._whole[at, column]:
                    found = self._batches[at].column(column)
                    if _sum(_parts([found]), 0, len(found)) != self._column_sums[at, column]:
                        raise self._damaged(f"its column {name!r} is damaged")
                    self._whole[at, column] = True

    def check_row(self, row: int) -> None:
        """Compare the checksum of one row over all its columns.

        Raises:
            VidsslError: The row is damaged, or the file was changed in place.
        """
        self.check_unchanged()
        if self._good[row]:
            return
        batch = int(np.searchsorted(self._ends, row, side="right"))
        parts = self._parts.get(batch)
        if parts is None:
            parts = self._parts[batch] = _parts(self._batches[batch].columns)
        at = row - (int(self._ends[batch - 1]) if batch else 0)
        if _sum(parts, at, at + 1) != self._row_sums[row]:
            raise self._damaged(f"its row {row} is damaged")
        self._good[row] = True

    def check_unchanged(self) -> None:
        """Raise ChangedError if the file was changed in place since it was opened."""
        if _state(self._descriptor) != self._state:
            raise ChangedError(
                f"path={str(self.path)!r}: the file was changed in place while it was open; start again, "
                "and replace such a file only by renaming another one to its name, as vidssl does"
            )

    def _damaged(self, reason: str) -> VidsslError:
        ours = has_mark(self._data, self._mark)
        fix = f"delete it and build it again with {self.hint}" if ours else "name a file that vidssl wrote"
        return VidsslError(f"path={str(self.path)!r}: {reason}; {fix}")


def has_mark(data: memoryview | bytes, mark: bytes) -> bool:
    """Return True if an Arrow file, which may be damaged, has a mark in its schema: in its head or its footer."""
    return data[: len(ARROW)] == ARROW and any(mark in bytes(part) for part in (data[:_SMALL], data[-_SMALL:]))


def _numbers(data: memoryview, tail: int) -> tuple[int, int, int, int, int]:
    """Rows, batches, columns, and the checksums of the structure and of the block."""
    _, *numbers = _TAIL.unpack_from(data, tail)
    rows, batches, columns, structure, seal = map(int, numbers)
    return rows, batches, columns, structure, seal


def _state(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _sum(parts: Iterable[_Part], first: int, end: int) -> int:
    """Checksum of the bytes of a range of rows."""
    out: list[memoryview | bytes] = []
    for part in parts:
        part(first, end, out)
    if end - first == 1 and sum(map(len, out)) < _SMALL:  # one call for many small parts
        return zlib.crc32(b"".join(out))
    found = 0
    for data in out:
        found = _crc32(data, found)
    return found


def _parts(arrays: Iterable[pa.Array]) -> list[_Part]:
    """One function for each buffer of the arrays, which finds the bytes of a range of rows.

    If offsets point outside of a buffer, the function finds no bytes, so nothing outside is read.
    """
    out: list[_Part] = []
    for array in arrays:
        _add_parts(array.type, array.buffers(), out)
    return out


def _add_parts(kind: pa.DataType, buffers: list[pa.Buffer | None], out: list[_Part]) -> None:
    """Add the functions of one type, and remove its buffers from the front of `buffers`."""
    valid = buffers.pop(0)
    if valid is not None:
        out.append(partial(_bits, memoryview(valid)))
    if pa.types.is_struct(kind):
        for field in kind:
            _add_parts(field.type, buffers, out)
        return
    data = buffers.pop(0)
    view = memoryview(data if data is not None else b"")
    if pa.types.is_boolean(kind):
        out.append(partial(_bits, view))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner: list[_Part] = []
        _add_parts(kind.value_type, buffers, inner)
        out.append(partial(_nested, view.cast("q" if pa.types.is_large_list(kind) else "i"), inner))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or _large(kind):
        values = buffers.pop(0)
        inner = [partial(_fixed, memoryview(values if values is not None else b""), 1)]
        out.append(partial(_nested, view.cast("q" if _large(kind) else "i"), inner))
    else:
        out.append(partial(_fixed, view, kind.bit_width // 8))


def _fixed(view: memoryview, width: int, first: int, end: int, out: list[memoryview | bytes]) -> None:
    out.append(view[first * width : end * width])


def _bits(view: memoryview, first: int, end: int, out: list[memoryview | bytes]) -> None:
    end = min(end, 8 * len(view))
    if first < end:
        bits = int.from_bytes(view[first >> 3 : end + 7 >> 3], "little") >> (first & 7)
        out.append((bits & (1 << end - first) - 1).to_bytes(end - first + 7 >> 3, "little"))


def _nested(offsets: memoryview, inner: list[_Part], first: int, end: int, out: list[memoryview | bytes]) -> None:
    """Includes the offsets themselves, so that changed lengths change the checksum."""
    out.append(offsets[first : end + 1])
    begin, stop = offsets[first], offsets[end]
    if 0 <= begin <= stop:
        for part in inner:
            part(begin, stop, out)
