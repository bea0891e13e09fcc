"""ray: a cluster that cannot be used ends the command in time, with exit code 2, its address and what to do.

Skipped where ray is not installed.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pools.nodes import Nodes
from tests.remote.servers import Answers
from vidssl import VideoIndex
from vidssl.cli import main
from vidssl.pools import cluster

ray = pytest.importorskip("ray")

_LONGEST = 60  # seconds; Ray itself would try for minutes


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "_REACHED", 2.0)


def refused(address: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of an address."""
    os.environ["RAY_ADDRESS"] = address
    began = time.monotonic()
    assert main(["index", ".", "--out", "i.arrow", "--engine", "ray"]) == 2
    assert time.monotonic() - began < _LONGEST
    error = capsys.readouterr().err
    assert not Path("i.arrow").exists()
    return error


@pytest.fixture(autouse=True)
def _address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")  # and afterwards what it was


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", r"does not answer \(.*refused.*start its head with `ray start --head`"),
        ("ray://10.0.0.1:10001", "take the head of the cluster itself, as HOST:PORT"),
        ("here", "name the head of the cluster as HOST:PORT"),
        ("127.0.0.1:99999", "name the head of the cluster as HOST:PORT"),
    ],
)
def test_nobody_there(address: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(address, capsys)
    assert f"error: VideoIndex.build: engine='ray': RAY_ADDRESS='{address}':" in error
    assert re.search(said, error)


@pytest.mark.parametrize("address", ["", " 10.0.0.1:6379 "])
def test_blanks_of_an_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job script may export an empty variable."""
    asked: list[str | None] = []
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(cluster, "_check_reached", lambda *_: None)
    monkeypatch.setattr(ray, "init", lambda address, **_: asked.append(address))
    cluster._connect(ray, "test")
    assert asked == [address.strip() or None]


def test_a_head_that_wants_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    with Nodes(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a" * 64) as nodes:
        assert "if it wants a token, which Ray keeps in ~/.ray/auth_token, set RAY_AUTH_MODE=token" in refused(
            nodes.address, capsys
        )


@contextmanager
def silent() -> Iterator[str]:
    """A port that accepts connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        yield "http://{}:{}".format(*server.getsockname())


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (silent, "it does not answer (timed out)"),
        (lambda: Answers(200, b"hello").serving(), "another program listens there, not the head of a cluster"),
        (lambda: Answers(400, b"").serving(), "another program listens there, not the head of a cluster"),
    ],
)
def test_another_program_there(server: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with server() as url:
        address = url.removeprefix("http://")
        error = refused(address, capsys)
    assert f"RAY_ADDRESS='{address}': {said}" in error


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "engine='ray': Ray is not installed here; pip install 'vidssl[ray]'" in refused("127.0.0.1:1", capsys)


def test_another_version_of_ray(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cluster runs; this process takes itself for an older one."""
    monkeypatch.setattr(ray, "__version__", "2.49.1")
    error = refused(nodes.address, capsys)
    assert f"RAY_ADDRESS='{nodes.address}': Version mismatch" in error
    assert "install Ray 2.49.1 and Python" in error


class _Holds:
    """Takes a core."""

    def is_there(self) -> bool:
        return True


@pytest.mark.parametrize("free", [False, True])
def test_no_free_core(
    free: bool, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others use both cores; `free`: one of them gives its core back while the command waits."""
    monkeypatch.setattr(cluster, "_FREE", 60.0 if free else 1.0)
    with ray.init(address=nodes.address, log_to_driver=False):
        while ray.cluster_resources()["CPU"] != 2:  # Ray counts a node that another test killed until it notices
            time.sleep(0.1)
        kind: Any = ray.remote(num_cpus=1)(_Holds)
        holders = [kind.remote() for _ in range(2)]
        ray.get([one.is_there.remote() for one in holders])
        while ray.available_resources().get("CPU", 0):
            time.sleep(0.1)
        address = ray.get_runtime_context().gcs_address
        if not free:
            error = refused(nodes.address, capsys)
            assert f"engine='ray': none of the 2 cores of the cluster at {address} is free; wait for" in error
            assert f"`ray start --address {address}`" in error
            return
        monkeypatch.setattr(cluster.log, "info", lambda *_: ray.kill(holders.pop()))  # when it says that it waits
        assert len(VideoIndex.build(".", engine="ray", progress=False)) == 1
        assert len(holders) == 1
