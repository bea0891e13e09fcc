"""A remote file gives the bytes of the file, and asks for no more of them than it must."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.remote.servers import Web
from vidssl.remote import RemotePath, fetch

BYTES = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()


@pytest.fixture
def web(tmp_path: Path) -> Web:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/x.bin").write_bytes(BYTES)
    return Web(tmp_path / "web")


@pytest.mark.parametrize("parts", [True, False])
def test_any_reading_gives_the_bytes_of_the_file(parts: bool, web: Web) -> None:
    web.parts = parts
    random = np.random.default_rng(1)
    with web.serving() as url:
        file = RemotePath(f"{url}/x.bin").part(1000, 90_000, piece=7000)
        for _ in range(200):
            start, count = int(random.integers(0, 91_000)), int(random.integers(0, 20_000))
            file.seek(start)
            found = b""
            while len(found) < count and (more := file.read(count - len(found))):
                found += more
            assert found == BYTES[1000:91_000][start : start + count]
            assert file.tell() == max(start, start + len(found))
        file.seek(-10, os.SEEK_END)
        assert file.read() == BYTES[90_990:91_000]
    assert web.sent["x.bin"] == (90_000 if parts else 100_000)  # each piece once; without parts, the file once


def test_a_part_asks_for_its_bytes_alone(web: Web) -> None:
    with web.serving() as url:
        assert RemotePath(f"{url}/x.bin").part(50_000, 300).read() == BYTES[50_000:50_300]
    assert web.sent["x.bin"] == 300


def test_two_readers_share_what_was_read(web: Web) -> None:
    with web.serving() as url:
        for _ in range(3):
            assert RemotePath(f"{url}/x.bin").open("rb").read() == BYTES
    assert web.sent["x.bin"] == len(BYTES)


def test_a_file_that_became_shorter_is_an_error(web: Web) -> None:
    with web.serving() as url:
        file = RemotePath(f"{url}/x.bin").part(0, len(BYTES), piece=1000)
        assert file.read(10) == BYTES[:10]
        (web.root / "x.bin").write_bytes(BYTES[:40_500])
        file.seek(40_100)
        with pytest.raises(OSError, match="it has changed"):
            file.read(10)


def test_a_changed_file_is_read_again(web: Web) -> None:
    with web.serving() as url:
        path = RemotePath(f"{url}/x.bin")
        first = path.stat()
        assert path.open("rb").read() == BYTES
        (web.root / "x.bin").write_bytes(BYTES[::-1])
        fetch.forget()
        assert path.stat().st_size == first.st_size
        assert path.stat().st_mtime_ns != first.st_mtime_ns
        assert path.open("rb").read() == BYTES[::-1]
