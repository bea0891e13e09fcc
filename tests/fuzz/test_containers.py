"""Damaged containers end as rows with a reason: no process dies, none hangs, and no exception is bare.

More of them: python -m tests.fuzz.harness tests.fuzz.test_containers:container 0 2000
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.containers import damaged, seeds
from tests.fuzz.harness import faults
from tests.fuzz.test_tars import survive


def container(folder: Path) -> Callable[[int], str]:
    whole = [(path.suffix, path.read_bytes()) for path in seeds(folder)]
    root = folder / "videos"
    root.mkdir()

    def run(seed: int) -> str:
        ending, data = whole[seed % len(whole)]
        path = root / f"a{ending}"
        path.write_bytes(damaged(data, seed))
        survive(root)
        path.unlink()
        return ""

    return run


def test_damaged_containers_are_survived(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_containers:container", range(250), tmp_path) == []


def test_the_damage_leaves_something_to_decode(tmp_path: Path) -> None:
    paths = seeds(tmp_path)
    (tmp_path / "damaged").mkdir()
    for seed in range(40):
        path = paths[seed % len(paths)]
        (tmp_path / "damaged" / f"{seed}{path.suffix}").write_bytes(damaged(path.read_bytes(), seed))
    assert 5 < survive(tmp_path / "damaged") < 40
