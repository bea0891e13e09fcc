"""seal: checksums within an Arrow file, so that a damaged one ends in an error and never in a crash.

Arrow trusts the offsets that it finds in a file's buffers, and reads wherever they point. So the seal has a checksum of
all that says where buffers lie, which is compared before Arrow sees the file; one of each column of each record batch,
compared before a column is first read as a whole; and one of each row, over the bytes of all its columns, compared
before that row is first read alone. The seal knows no names of columns: it goes by the types of the schema. It stands
between the last record batch and the footer, where Arrow looks for nothing, so any reader of Arrow files still opens
the file.

A mapped file must be replaced by renaming another, which a reader of the old one never notices. One that is changed in
place is an error from then on; one that is cut short in place at the very moment that it is read ends the process
(SIGBUS), as with any mapped file.
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

from vidssl.types import VidsslError

# Magic, rows, record batches, columns, checksum of footer and messages, checksum of the seal until here. Before it,
# little-endian: a checksum of each row, of each column of each batch, zeros up to a multiple of 8 bytes, and (offset,
# length) of each batch's message.
_TAIL = struct.Struct("<8sQIIII")
_MAGIC = b"vid.seal"
_ARROW = b"ARROW1"
_END = 4 + len(_ARROW)  # the footer's length, and Arrow's mark
_SCHEMA = 8  # where the first message begins; the record batches follow it

# (first row, row after the last, what takes the bytes that these rows stand in)
_Part = Callable[[int, int, list[memoryview | bytes]], None]


def write_checksummed(aside: Path, table: pa.Table, rows: int) -> None:
    """Write `table`, to a file that gets its name later, as an Arrow file with a seal, `rows` rows a record batch.
    Raises OSError.
    """
    ends: list[int] = []
    with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
            ends.append(file.tell())
    with aside.open("r+b") as whole:
        data = memoryview(mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ))
        footer = bytes(data[_footer(data) :])
        seal = _seal(data, ends, footer)
        whole.seek(-len(footer), os.SEEK_END)
        whole.write(seal + footer)


def _seal(data: memoryview, ends: list[int], footer: bytes) -> bytes:
    """The seal of an Arrow file whose record batches end at `ends`. What it sums up is what was written."""
    reader = pa.ipc.open_file(pa.py_buffer(data))
    batches = [reader.get_batch(at) for at in range(reader.num_record_batches)]
    places = [_SCHEMA + _length(data, _SCHEMA), *ends][: len(batches)]
    messages = np.array([(place, _length(data, place)) for place in places], "<i8").reshape(-1, 2)
    rows = [
        _sum(parts, at, at + 1) for batch in batches for parts in [_parts(batch.columns)] for at in range(len(batch))
    ]
    columns = [_sum(_parts([column]), 0, len(column)) for batch in batches for column in batch.columns]
    body = np.array([*rows, *columns], "<u4").tobytes()
    body += bytes(-len(body) % 8) + messages.tobytes()
    structure = _structure(data, messages, footer)
    head = _TAIL.pack(_MAGIC, len(rows), len(batches), len(reader.schema), structure, 0)[:-4]
    return body + head + struct.pack("<I", zlib.crc32(head, zlib.crc32(body)))


def _length(data: memoryview, place: int) -> int:
    """Bytes of the message at `place`: a mark, the length of what follows, and that."""
    return 8 + int.from_bytes(data[place + 4 : place + 8], "little")


def _footer(data: memoryview) -> int:
    """Where the footer of an Arrow file begins, by its end. Raises ValueError."""
    if len(data) < len(_ARROW) + _END or data[-len(_ARROW) :] != _ARROW:
        raise ValueError("not an Arrow file, or its end is missing")
    place = len(data) - _END - int.from_bytes(data[-_END : -len(_ARROW)], "little")
    if place < len(_ARROW):
        raise ValueError("its end is damaged")
    return place


def _structure(data: memoryview, messages: npt.NDArray[np.int64], footer: bytes | memoryview) -> int:
    """Checksum of all that says where buffers lie, and how long they are."""
    found = zlib.crc32(footer)
    for place, length in messages.tolist():
        found = zlib.crc32(data[place : place + length], found)
    return found


class ChecksummedFile:
    """A file that `write_checksummed` wrote, mapped into memory.

    footer: the bytes of its footer, as they are. hint: what fixes a damaged file, for messages. Raises VidsslError
    where the file does not end as an Arrow file does.
    """

    def __init__(self, path: Path, hint: str) -> None:
        self.path, self.hint = path, hint
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        self._descriptor, self._state = descriptor, _state(descriptor)
        self._data = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if self._state[0] else b"")
        try:
            self._footer = _footer(self._data)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        self.footer = bytes(self._data[self._footer :])

    def open(self) -> pa.Table:
        """Its columns, to be read only row by row, each after `check_row`: damaged, they crash. Raises VidsslError for
        a file whose checksums or structure are damaged.
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
        self._batches = [reader.get_batch(at) for at in range(batches)]
        self._table = pa.Table.from_batches(self._batches, reader.schema).replace_schema_metadata(None)
        self._row_sums = np.frombuffer(data[body:], "<u4", rows)
        self._column_sums = np.frombuffer(data[body + 4 * rows :], "<u4", batches * columns).reshape(batches, columns)
        self._ends = np.cumsum([len(batch) for batch in self._batches], dtype=np.int64)
        self._parts: dict[int, list[_Part]] = {}  # of each batch that a row was checked of
        self._whole = np.zeros((batches, columns), bool)  # columns that were checked
        self._good = np.zeros(rows, bool)  # rows that were checked
        return self._table

    def columns(self, names: list[str], rows: npt.NDArray[np.int64] | None = None) -> pa.Table:
        """Columns of `rows`, or of all. The record batches that these rows lie in are compared, whole, and no other is
        read. Raises VidsslError where they are damaged.
        """
        self._unchanged()
        if rows is None:
            self._compare(names, range(len(self._batches)))
            return self._table.select(names)
        used, place = np.unique(np.searchsorted(self._ends, rows, side="right"), return_inverse=True)
        self._compare(names, used.tolist())
        schema = pa.schema([self._table.field(name) for name in names])
        some = pa.Table.from_batches([self._batches[at].select(names) for at in used], schema)
        lengths = np.diff(self._ends, prepend=0)[used]
        before = self._ends[used] - np.cumsum(lengths)  # rows of batches that are not used
        return some.take(pa.array(rows - before[place]))

    def _compare(self, names: list[str], batches: Iterable[int]) -> None:
        for at in batches:
            for name in names:
                column = self._table.schema.get_field_index(name)
                if not self._whole[at, column]:
                    found = self._batches[at].column(column)
                    if _sum(_parts([found]), 0, len(found)) != self._column_sums[at, column]:
                        raise self._damaged(f"its column {name!r} is damaged")
                    self._whole[at, column] = True

    def check_row(self, row: int) -> None:
        """Compare all columns of one row. Raises VidsslError where they are damaged."""
        self._unchanged()
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

    def _unchanged(self) -> None:
        """Raises VidsslError where the file was changed in place since it was opened: what is mapped may be anything,
        or gone.
        """
        if _state(self._descriptor) != self._state:
            raise VidsslError(
                f"path={str(self.path)!r}: the index was changed in place while it was open; start anew, and replace an index only by "
                f"renaming another one to its name, as `vidssl index` does"
            )

    def _damaged(self, reason: str) -> VidsslError:
        return VidsslError(f"path={str(self.path)!r}: {reason}; delete it, and make it anew with {self.hint}")


def _numbers(data: memoryview, tail: int) -> tuple[int, int, int, int, int]:
    """What `_TAIL` names, but for the magic."""
    _, *numbers = _TAIL.unpack_from(data, tail)
    rows, batches, columns, structure, seal = map(int, numbers)
    return rows, batches, columns, structure, seal


def _state(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _sum(parts: Iterable[_Part], first: int, end: int) -> int:
    """Checksum of the bytes that rows stand in."""
    out: list[memoryview | bytes] = []
    for part in parts:
        part(first, end, out)
    if end - first == 1:
        return zlib.crc32(b"".join(out))
    found = 0
    for data in out:
        found = zlib.crc32(data, found)
    return found


def _parts(arrays: Iterable[pa.Array]) -> list[_Part]:
    """What finds the bytes of a range of rows, for each buffer of the arrays. Where offsets point outside of a buffer,
    there are no bytes: nothing else is read.
    """
    out: list[_Part] = []
    for array in arrays:
        _add_parts(array.type, array.buffers(), out)
    return out


def _add_parts(kind: pa.DataType, buffers: list[pa.Buffer | None], out: list[_Part]) -> None:
    """Takes the type's own buffers from the front of `buffers`."""
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
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        values = buffers.pop(0)
        out.append(
            partial(_nested, view.cast("i"), [partial(_fixed, memoryview(values if values is not None else b""), 1)])
        )
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
    """The offsets themselves count too, and so do lengths with them."""
    out.append(offsets[first : end + 1])
    begin, stop = offsets[first], offsets[end]
    if 0 <= begin <= stop:
        for part in inner:
            part(begin, stop, out)
