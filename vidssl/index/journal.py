"""journal: rows of an index that is being built, kept as they come, so that a build that is cut off goes on where it
was.

A file of records, each with its length and a checksum, so that a damaged one costs only its own rows: the next is found
by its mark.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from vidssl.paths import atomic_write
from vidssl.types import VidsslError

_MARK = b"\xffvid.row"
_HEAD = struct.Struct("<8sII")  # mark, bytes of the batch that follows, checksum of schema and batch


class Journal:
    """A file that grows by batches of rows. A context manager; it leaves the file, `remove` takes it away.

    found: the rows of the schema that stand in it.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self._start = zlib.crc32(schema.serialize())  # records of another schema, or another root, do not count
        self.found = pa.Table.from_batches(self._read(path.read_bytes() if path.is_file() else b""), schema)

    def __enter__(self) -> Journal:
        try:
            with atomic_write(self.path) as aside:  # the file that is open stays the same when it gets its name
                self._file = aside.open("wb")
                self.add(self.found.to_batches())
        except OSError as error:
            raise VidsslError(
                f"journal={str(self.path)!r}: {error.strerror or error}; name a file that can be written"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            data = batch.serialize()
            self._file.write(_HEAD.pack(_MARK, data.size, zlib.crc32(data, self._start)))
            self._file.write(data)
        self._file.flush()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self, data: bytes) -> list[pa.RecordBatch]:
        """The batches whose checksum is right; what lies between is passed over."""
        batches, at = [], data.find(_MARK)
        while 0 <= at <= len(data) - _HEAD.size:
            _, length, found = _HEAD.unpack_from(data, at)
            body = memoryview(data)[at + _HEAD.size :][:length]
            whole = len(body) == length and zlib.crc32(body, self._start) == found
            if whole:
                batches.append(pa.ipc.read_record_batch(pa.py_buffer(body), self.schema))
            at = data.find(_MARK, at + (_HEAD.size + length if whole else 1))
        return batches
