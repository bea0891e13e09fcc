"""ray: a node that is killed in the middle of `prepare` or `store fill` costs only the videos that it works on.

Skipped where ray is not installed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clips import make_clip
from tests.pools.nodes import Nodes
from vidssl import FrameStore, VideoIndex
from vidssl.pools import cluster
from vidssl.prepare import Encoding, make, prepare
from vidssl.recipes import RECIPES
from vidssl.store import fill, fill_index
from vidssl.store.shard import BLOCK

ray = pytest.importorskip("ray")

VIDEOS = 6
_BEFORE = 2  # videos that are begun before others wait for the end of the node
_WAITS = 120.0  # seconds
encode, decode = make._encode_apart, fill_index._decode


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        make_clip(root / f"{number}.mp4", frames=2 * BLOCK + number)
    return VideoIndex.build(root, progress=False)


def note(ran: Path, one: Any) -> Callable[[], None]:
    """Writes down that a job began. Returns what waits until a node has been killed."""
    with ran.open("a") as file:
        file.write(f"{os.getpid()} {one.row}\n")
    late = len(begun(ran)) > _BEFORE

    def wait() -> None:
        until = time.monotonic() + _WAITS
        while late and not ran.with_name("killed").exists() and time.monotonic() < until:
            time.sleep(0.02)

    return wait


def begun(ran: Path) -> list[tuple[int, int]]:
    """(process, row) of each job, in the order in which they began."""
    lines = ran.read_text().splitlines() if ran.exists() else []
    return [(int(process), int(row)) for process, row in map(str.split, lines)]


def slow_encode(ran: Path, how: Any, one: Any, give: Callable[[Any], None]) -> None:
    note(ran, one)()
    encode(how, one, give)


def slow_decode(ran: Path, size: Any, limit: Any, one: Any, give: Callable[[Any], None]) -> None:
    """Waits when the first frames of the video have been given."""
    wait = note(ran, one)

    def gives(value: Any) -> None:
        give(value)
        wait()

    fill._CHUNK = 1  # a block at a time
    decode(size, limit, one, gives)


@contextmanager
def killing(nodes: Nodes, ran: Path) -> Iterator[list[int]]:
    """Kills the second node as soon as it works on a video that waits. Yields what will have the row of this video."""
    rows: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not rows and not ended.wait(0.02):
            here = nodes.workers_of_second()
            rows.extend([row for process, row in begun(ran)[_BEFORE:] if process in here][:1])
        nodes.kill_second()
        ran.with_name("killed").touch()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield rows
    finally:
        ended.set()
        thread.join()
        nodes.add_second()


def check_cost(ran: Path, killed: list[int]) -> None:
    rows = [row for _, row in begun(ran)]
    assert len(killed) == 1
    assert rows.count(killed[0]) == 2
    assert set(rows) == set(range(VIDEOS))
    assert len(rows) <= VIDEOS + 2  # what it worked on, and what had just ended there


def test_in_the_middle_of_prepare(
    joined: Nodes, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, ran = RECIPES["vcop_r3d"]().pretext, tmp_path / "ran"
    assert prepare(index, tmp_path / "local", Encoding(), task, workers=1, progress=False).made == VIDEOS
    monkeypatch.setattr(make, "_encode_apart", partial(slow_encode, ran))
    with killing(joined, ran) as killed:
        result = prepare(index, tmp_path / "ray", Encoding(), task, engine="ray", progress=False)
    assert (result.made, result.skipped) == (VIDEOS, [])
    check_cost(ran, killed)
    for number in range(VIDEOS):
        assert (tmp_path / f"ray/{number}.mp4").read_bytes() == (tmp_path / f"local/{number}.mp4").read_bytes()


def test_in_the_middle_of_store_fill(
    joined: Nodes, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, shards = tmp_path / "ran", []
    monkeypatch.setattr(fill, "_CHUNK", 1)
    assert FrameStore(tmp_path / "local", (24, 32)).fill(index, workers=1, progress=False) == []
    monkeypatch.setattr(fill_index, "_decode", partial(slow_decode, ran))
    monkeypatch.setattr(cluster, "_SILENT", 3.0)  # the other node works on a later video, and waits until it is read
    with killing(joined, ran) as killed:
        assert FrameStore(tmp_path / "ray", (24, 32)).fill(index, engine="ray", progress=False) == []
    check_cost(ran, killed)
    for name in ("local", "ray"):
        shards.append(sorted(path.read_bytes() for path in FrameStore.paths(tmp_path / name)))
    assert shards[0] == shards[1] != []
