"""The harness itself: it names each way to fail by its seed, and goes on after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.harness import faults
from tests.fuzz.mutate import mutate


def target(_folder: Path) -> Callable[[int], str]:
    def run(seed: int) -> str:
        if seed == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if seed == 4:
            time.sleep(60)
        if seed == 6:
            raise ValueError("bare")
        return "wrong row" if seed == 7 else ""

    return run


def test_deaths_hangs_and_faults_are_named_by_their_seed(tmp_path: Path) -> None:
    found = faults("tests.fuzz.test_harness:target", range(1, 9), tmp_path, limit_s=2)
    said = [line.partition(": ")[2] for line in found]
    assert said[:2] + said[3:] == ["died of SIGSEGV: ", "hangs", "wrong row"]
    assert said[2].startswith("a bare exception: ")
    assert said[2].endswith("ValueError: bare")
    assert [f"seed {seed}:" in line for seed, line in zip((2, 4, 6, 7), found, strict=True)] == [True] * 4


def test_a_seed_gives_the_same_damage_each_time() -> None:
    data = bytes(range(256)) * 20
    assert all(mutate(data, seed) == mutate(data, seed) for seed in range(50))
    assert len({mutate(data, seed) for seed in range(50)}) > 45
    assert all(mutate(data, seed, first=100)[:100] == data[:100] for seed in range(50))
