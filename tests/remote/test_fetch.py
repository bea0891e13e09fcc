"""Requests that fail for a passing reason are tried again and counted; others say what is wrong and what to do."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_videos
from tests.remote.conftest import same, upload, use_endpoint
from tests.remote.servers import Answers, Faults, Web
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.remote import RemotePath, fetch
from vidssl.remote.cache import LIMIT
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.video.decode import decode


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return make_videos(tmp_path_factory.mktemp("videos"))


def test_a_bad_network_gives_the_same_index_and_frames(
    videos: VideoIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetch, "_retries", 0)
    with Web(videos.root).serving() as url:
        faults = Faults(url, drop=0.3, seconds=0.02)
        with faults.serving() as bad:
            found = VideoIndex.build(bad, progress=False)
            for row in found.usable(31).tolist():
                fetch.forget()
                numbers = np.array([0, 11, 30])
                assert np.array_equal(decode(found.video(row), numbers).data, decode(videos.video(row), numbers).data)
    assert same(videos, found)
    assert faults.dropped > 5
    # HEAD that fails is followed by a GET of fsspec's own before it counts as failed
    assert 0 < fetch.retries() <= faults.dropped
    said = [int(count) for count in re.findall(r"tried again \((\d+) times so far\)", caplog.text)]
    assert said == [2**power for power in range(fetch.retries().bit_length())]  # each time that it has doubled


def test_s3_is_indexed_trained_and_resumed_over_a_bad_network(
    videos: VideoIndex, recipe: Recipe, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights after 20 steps are those of the same videos on a disk."""
    upload(videos.root, "bucket/videos")
    half, whole = (replace(recipe, train=replace(recipe.train, steps=steps)) for steps in (10, 20))
    straight, out, before = tmp_path / "local", tmp_path / "remote", fetch.retries()
    train(whole, videos, straight, quiet=True)
    faults = Faults(s3, drop=0.05, seconds=0.02)
    with faults.serving() as bad:
        use_endpoint(monkeypatch, bad)
        assert main(["index", "s3://bucket/videos", "--out", str(tmp_path / "i.arrow")]) == 0
        found = VideoIndex.load(tmp_path / "i.arrow")
        assert same(videos, found)
        monkeypatch.setenv(LIMIT, "0")  # each window is then read from the server
        train(half, found, out, quiet=True)
        train(whole, found, out, resume=True, quiet=True)
    weights = "checkpoints/step_00000020/encoder.safetensors"
    assert (out / weights).read_bytes() == (straight / weights).read_bytes()
    assert faults.passed > 50
    assert 0 < fetch.retries() - before <= faults.dropped


@contextmanager
def black_hole() -> Iterator[str]:
    """A port that accepts no connection, and does not say so."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        filled = [socket.socket() for _ in range(4)]
        for one in filled:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield "http://{}:{}".format(*server.getsockname())
        for one in filled:
            one.close()


def test_a_server_that_does_not_answer_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "CONNECT", 0.2)
    monkeypatch.setattr(fetch, "READ", 0.2)
    with black_hole() as silent:
        for url in (silent, "http://127.0.0.1:9", "http://host.invalid"):
            start = time.monotonic()
            assert main(["index", f"{url}/videos", "--out", str(tmp_path / "i.arrow")]) == 2
            assert time.monotonic() - start < 20
            said = capsys.readouterr().err
            assert f"error: data='{url}/videos': no answer in 6 attempts" in said
            assert "check its address and the network" in said


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "access denied (AccessDenied); check the credentials, and what they may read and write"),
        (403, "InvalidAccessKeyId", "access denied (InvalidAccessKeyId); check the credentials"),
        (400, "ExpiredToken", "access denied (ExpiredToken); check the credentials"),
        (404, "NoSuchBucket", "not found (NoSuchBucket); check the URL"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region; set AWS_REGION to it"),
        (503, "SlowDown", "no answer in 6 attempts"),
    ],
)
def test_what_s3_refuses_says_what_to_do(
    status: int,
    code: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("s3fs", reason="needs vidssl[remote]")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    answers = Answers(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
    with answers.serving() as url:
        use_endpoint(monkeypatch, url)
        assert main(["index", "s3://bucket/videos", "--out", str(tmp_path / "i.arrow")]) == 2
    assert f"error: data='s3://bucket/videos': {said}" in capsys.readouterr().err
    assert answers.asked >= 6 if status == 503 else answers.asked <= 2  # what does not pass is not tried again


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host:80:90/v", "error: data='http://host:80:90/v': no such place can be asked for ("),
        ("http://host:x/v", "error: data='http://host:x/v': no such place can be asked for ("),
        ("s3://", "path='s3://': it names no bucket or server; write s3://NAME/FOLDER"),
    ],
)
def test_a_malformed_url_is_said(url: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", url, "--out", str(tmp_path / "i.arrow")]) == 2
    assert said in capsys.readouterr().err


def test_missing_credentials_say_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("s3fs", reason="needs vidssl[remote]")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    use_endpoint(monkeypatch, "http://127.0.0.1:9/none")
    assert main(["index", "s3://bucket/videos", "--out", str(tmp_path / "i.arrow")]) == 2
    said = capsys.readouterr().err
    assert "error: data='s3://bucket/videos': no credentials (" in said
    assert "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said


@pytest.mark.parametrize(
    ("url", "module", "said"),
    [
        ("s3://bucket/videos", "s3fs", "pip install 'vidssl[remote]'"),
        ("https://host/videos", "aiohttp", "pip install 'vidssl[remote]'"),
        ("s3://bucket/videos", "fsspec", "pip install 'vidssl[remote]'"),
        ("nothing://bucket/videos", "none", "use s3://, https:// or another scheme of fsspec"),
    ],
)
def test_a_missing_package_says_what_to_install(
    url: str,
    module: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fsspec.registry import _registry

    for scheme in ("s3", "https"):
        monkeypatch.delitem(_registry, scheme, raising=False)  # what fsspec has imported already
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    assert main(["index", url, "--out", str(tmp_path / "i.arrow")]) == 2
    found = capsys.readouterr().err
    assert f"error: data='{url}': " in found
    assert said in found


def test_what_is_kept_of_a_file_is_asked_again_after_a_while(
    videos: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = Web(videos.root)
    with web.serving() as url:
        path = RemotePath(f"{url}/a/0_g0.avi")
        for _ in range(3):
            path.stat()
        assert web.asked.total() == 1
        monkeypatch.setattr(fetch, "FRESH", 0.0)
        path.stat()
        assert web.asked.total() == 2
