"""ray: two nodes give the bytes of one thread; a node that dies costs what it works on; errors name the fix.

Skipped where ray is not installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clips import make_clip
from tests.pools.nodes import Nodes
from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.deadline import FileTimeoutError
from vidssl.pools import cluster, node
from vidssl.pools.base import Part
from vidssl.pools.cluster import RayPool

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    (root / "run").mkdir()
    for number, coder in enumerate(["libx264", "mpeg4", "libx264"]):
        path = root / f"run/{number}.{'avi' if coder == 'mpeg4' else 'mp4'}"
        make_clip(path, coder, frames=20 + number)
    (root / "run/damaged.mp4").write_bytes(b"no video" * 99)
    return root


def start(job: Callable[..., None], items: list[Any], folder: Path, **options: Any) -> list[Part[Any]]:
    with (
        RayPool("test", None) as pool,
        pool.start(job, items, name="test", file=lambda _: folder, **options) as run,
    ):
        return [part for parts in run.parts() for part in parts]


def test_index_and_store_are_those_of_one_thread(joined: Nodes, folder: Path, tmp_path: Path) -> None:
    found, shards = [], []
    for engine in ("local", "ray"):
        index = VideoIndex.build(folder, engine=engine, workers=1, progress=False)
        index.save(tmp_path / f"{engine}.arrow")
        found.append((tmp_path / f"{engine}.arrow").read_bytes())
        store = FrameStore(tmp_path / engine, (24, 32))
        assert store.fill(index, engine=engine, workers=1, progress=False) == []
        shards.append(sorted(path.read_bytes() for path in FrameStore.paths(tmp_path / engine)))
    assert found[0] == found[1]
    assert shards[0] == shards[1] != []


def test_new_videos_are_those_of_one_thread(joined: Nodes, folder: Path, tmp_path: Path) -> None:
    made = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        assert main(["prepare", str(folder), str(out), "--engine", engine, "--workers", "1"]) == 0
        made.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.mp4")})
    assert made[0] == made[1]
    assert len(made[0]) == 3


def test_a_node_that_does_not_see_where_new_videos_go(joined: Nodes, folder: Path, tmp_path: Path) -> None:
    with RayPool("prepare", None) as pool:
        pool.check_seen(tmp_path)
        with pytest.raises(
            VidsslError, match=rf"^prepare: engine='ray': node \S+ does not see {tmp_path}/no; mount its"
        ):
            pool.check_seen(tmp_path / "no")


def note(ran: Path, number: int, give: Callable[[int], None]) -> None:
    time.sleep(0.2)
    with ran.open("a") as file:
        file.write(f"{number}\n")
    give(number)


def test_a_node_that_dies_costs_what_it_works_on(joined: Nodes, tmp_path: Path) -> None:
    ran, numbers = tmp_path / "ran", list(range(30))
    got: list[int] = []
    try:
        with (
            RayPool("test", None) as pool,
            pool.start(partial(note, ran), numbers, name="test", file=lambda _: tmp_path) as run,
        ):
            for parts in run.parts():
                got += [part.results[0] for part in parts]
                if len(got) == 8:
                    joined.kill_second()
    finally:
        joined.add_second()
    assert sorted(got) == numbers
    assert len(ran.read_text().split()) <= len(numbers) + 2  # it had one job, and one that just ended


def waits(number: int, give: Callable[[int], None]) -> None:
    if number == 1:
        raise FileTimeoutError("a.mp4", "it is slow")
    if number == 2:
        raise VidsslError("it is odd")
    for count in range(number):
        give(count)


def test_results_and_errors_come_with_their_item(joined: Nodes, tmp_path: Path) -> None:
    parts = {part.item: part for part in start(waits, [0, 1, 2, 3], tmp_path)}
    assert (parts[0].results, parts[3].results) == ([], [0, 1, 2])
    assert isinstance(parts[1].error, FileTimeoutError)
    assert parts[1].error.reason == "it is slow"
    assert str(parts[2].error) == "it is odd"
    ordered = start(waits, [4, 3], tmp_path, ordered=True)
    assert [(part.item, part.results) for part in ordered if part.results] == [
        *((4, [count]) for count in range(4)),
        *((3, [count]) for count in range(3)),
    ]


def fails(number: int, give: Callable[[int], None]) -> None:
    raise ZeroDivisionError


def test_an_error_of_the_program_is_raised(joined: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        start(fails, [1], tmp_path)


def test_other_versions_on_a_node_are_refused(joined: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "compared", lambda: node.compared() | {"vidssl": "9.9"})
    with pytest.raises(VidsslError, match=r"test: engine='ray': node \S+ has vidssl .*, not 9\.9; install the same"):
        start(waits, [1], tmp_path)


def test_a_file_that_a_node_does_not_see_ends_the_run(
    joined: Nodes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no node has lost its mount, so this process says that it sees a file which is not there."""
    monkeypatch.setattr(cluster, "unreadable", lambda _: "")
    with pytest.raises(VidsslError, match=r"node \S+ does not see \S+gone; mount its folder there under the same path"):
        start(waits, [3], tmp_path / "gone")
    monkeypatch.undo()
    monkeypatch.setenv("RAY_ADDRESS", joined.address)
    [part] = start(waits, [3], tmp_path / "gone")  # deleted since it was listed: the job finds out itself
    assert part.results == [0, 1, 2]
