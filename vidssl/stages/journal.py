"""journal: rows of an index that is being built, kept as they come, so that a build that is cut off goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidssl.types import VidsslError


class Journal:
    """An Arrow stream that grows by batches of rows. A context manager; it leaves the file, `remove` takes it away."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.found = _readable(path, schema)

    def __enter__(self) -> Journal:
        aside = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = aside.open("wb")
        except OSError as error:
            raise VidsslError(f"journal={str(self.path)!r}: {error.strerror or error}; name a file that can be written") from error
        self._stream = pa.ipc.new_stream(self._file, self.schema)
        self.add(self.found.to_batches())
        aside.replace(self.path)  # the file that is open stays the same
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._file.close()

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            self._stream.write_batch(batch)
        self._file.flush()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _readable(path: Path, schema: pa.Schema) -> pa.Table:
    """What stands in a journal that may end anywhere."""
    batches: list[Any] = []
    if path.is_file():
        try:
            with pa.ipc.open_stream(pa.BufferReader(path.read_bytes())) as reader:
                if reader.schema.equals(schema, check_metadata=True):
                    while True:
                        batches.append(reader.read_next_batch())
        except (StopIteration, pa.ArrowException, OSError):
            pass  # the end, or where it was cut off
    return pa.Table.from_batches(batches, schema)
