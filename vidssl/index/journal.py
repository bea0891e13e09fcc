"""Keeps the finished rows of an index that is being built, so that an interrupted build resumes.

The file is a sequence of records, each with a mark, its length and a digest of all of it. Only rows of records whose
digest is right are used. A damaged record loses only its own rows, since the mark of the next record is searched for.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from vidssl.lock import Lock, hold
from vidssl.paths import GrowingFile, atomic_write, open_append
from vidssl.types import VidsslError

_MARK = b"\xffvid.row"
_DIGEST = 16  # bytes
_HEAD = struct.Struct(
    f"<8sQ{_DIGEST}s"
)  # mark, length of the following batch in bytes, digest of schema, length and batch


def journal_of(index: Path) -> Path:
    """The journal of the index that is built for the file `index`, beside it."""
    return index.with_name(f".{index.name}.partial")


def hold_journal(path: Path) -> AbstractContextManager[Lock]:
    """Let only one process at a time build the index with the journal at `path`: a context manager, see `lock.hold`."""
    return hold(path.with_name(f"{path.name}.lock"), f"journal={str(path)!r}")


class Journal:
    """A file that grows by batches of rows. A context manager; leaving it keeps the file, unless it has no rows.

    Args:
        path: The file. It need not exist.
        schema: Schema of the rows.

    Attributes:
        found: The rows of this schema that the file holds when it is opened.

    Raises:
        VidsslError: On entering, if the file cannot be written.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self._schema = bytes(schema.serialize())  # in the digest, so that records of another schema or root are ignored
        self._kept = 0  # rows in the file
        batches, self._whole = self._read(_mapped(path))
        self.found = pa.Table.from_batches(batches, schema)

    def __enter__(self) -> Journal:
        try:
            if self._whole:  # there is nothing in it but rows of ours, so it need not be written anew
                self._file, self._kept = open_append(self.path, binary=True), len(self.found)
                return self
            with atomic_write(self.path) as aside:  # the open file stays valid when it is renamed
                self._file = GrowingFile(aside.open("wb"))
                self.add(self.found.to_batches())
        except OSError as error:
            raise VidsslError(
                f"journal={str(self.path)!r}: {error.strerror or error}; name a file that can be written"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self.path.is_file() and self.path.stat().st_size == 0:
            self.path.unlink()

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append batches of rows. Raises VidsslError if they cannot be written."""
        try:
            for batch in batches:
                data = bytes(batch.serialize())
                self._file.write(_HEAD.pack(_MARK, len(data), self._digest(data)) + data)
                self._kept += len(batch)
        except OSError as error:
            # Where the file is begun anew, the one before stays until all of its rows are copied.
            kept = max(self._kept, len(self.found))
            then = "the rows before are kept, and the same command continues" if kept else "no row is kept yet"
            raise VidsslError(
                f"journal={str(self.path)!r}: {error.strerror or error}; free some space there, or name another file; "
                f"{then}"
            ) from error

    def _digest(self, data: bytes | memoryview) -> bytes:
        return hashlib.blake2b(self._schema + len(data).to_bytes(8, "little") + data, digest_size=_DIGEST).digest()

    def _read(self, data: mmap.mmap | bytes) -> tuple[list[pa.RecordBatch], bool]:
        """The batches of whole records, and whether there is nothing else but these; other bytes are skipped."""
        view = memoryview(data)
        batches, at, used = [], data.find(_MARK), 0
        while 0 <= at <= len(data) - _HEAD.size:
            _, length, found = _HEAD.unpack_from(data, at)
            body = view[at + _HEAD.size :][:length]
            whole = len(body) == length and self._digest(body) == found
            if whole:
                batches.append(pa.ipc.read_record_batch(pa.py_buffer(body), self.schema))
                used += _HEAD.size + length
            at = data.find(_MARK, at + (_HEAD.size + length if whole else 1))
        return batches, used == len(data) > 0


def _mapped(path: Path) -> mmap.mmap | bytes:
    """The content of a file, which is mapped and not read: its rows may take more room than there is memory."""
    if not path.is_file() or not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
