"""A part of a remote file as a file: it is read in pieces, each of which is kept in the cache."""

from __future__ import annotations

import io
from typing import Any

from vidssl.remote import fetch
from vidssl.remote.cache import cache

PIECE = 2**22  # bytes of a request
HEADERS = 2**16  # bytes of a request where most of a file is skipped
_whole: set[str] = set()  # files whose servers send no parts


class RemoteFile(io.RawIOBase):
    """Bytes of a remote file, as a file of their own. Used within one thread.

    A server that sends no parts sends the whole file once, which is then kept in pieces as well.

    Args:
        url: The file.
        about: Its size and version.
        offset: First byte.
        size: Number of bytes.
        piece: Bytes of a request.
    """

    def __init__(self, url: str, about: fetch.Info, offset: int, size: int, piece: int) -> None:
        super().__init__()
        self.name = url
        self._about, self._offset, self._size, self._piece = about, offset, size, piece
        self._at = 0
        self._begin, self._data = 0, b""  # the piece that was read last, and where it begins in the file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte of the part."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read up to the end of a piece.

        Raises:
            OSError: As `fetch.info`, or the file has changed.
        """
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(view):
            return 0
        place = self._offset + self._at
        if not self._begin <= place < self._begin + len(self._data):
            self._begin, self._data = self._read_piece(place)
        start = place - self._begin
        count = min(len(view), len(self._data) - start, self._size - self._at)
        view[:count] = self._data[start : start + count]
        self._at += count
        return count

    def _read_piece(self, place: int) -> tuple[int, bytes]:
        """(where it begins, bytes) of the piece that has a byte of the file."""
        # parts of the same file share its pieces only if they must: small members are asked for exactly
        first, end = (0, self._about.size) if self.name in _whole else (self._offset, self._offset + self._size)
        begin = first + (place - first) // self._piece * self._piece
        end = min(begin + self._piece, end)
        key = f"{self.name} {self._about.version} {begin} {end}"
        data = cache().get(key, end - begin)
        if data is None:
            data = fetch.read(self.name, begin, end)
            if len(data) > end - begin:
                _whole.add(self.name)
                for at in range(0, len(data), self._piece):
                    part = data[at : at + self._piece]
                    cache().put(f"{self.name} {self._about.version} {at} {at + len(part)}", part)
                return 0, data
            cache().put(key, data)
        return begin, data
