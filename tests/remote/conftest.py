"""A cache of its own and short waits for each test; videos that are served; and an S3 server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from vidssl.index.table import VideoIndex
from vidssl.remote import fetch
from vidssl.remote.cache import FOLDER


@pytest.fixture(autouse=True)
def _of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="needs vidssl[remote]")
    monkeypatch.setenv(FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "WAIT", 0.001)
    fetch.forget()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server with an empty bucket `bucket`, which is the one that s3:// means."""
    pytest.importorskip("s3fs", reason="needs vidssl[remote]")
    server = pytest.importorskip("moto.server", reason="needs moto[server]").ThreadedMotoServer(port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    use_endpoint(monkeypatch, url)
    urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # all servers of a process show the same buckets
    import fsspec

    fsspec.filesystem("s3").mkdir("bucket")
    yield url
    server.stop()


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Makes s3:// mean a server."""
    from fsspec.config import conf

    monkeypatch.setitem(conf, "s3", {"endpoint_url": url})


def upload(folder: Path, to: str) -> None:
    import fsspec

    fsspec.filesystem("s3").put(f"{folder}/", f"{to}/", recursive=True)


def same(first: VideoIndex, second: VideoIndex) -> bool:
    """True if two indices differ at most in the versions of their files."""
    return bool(first.table.drop_columns("mtime_ns").equals(second.table.drop_columns("mtime_ns")))
