"""pipeline: in which order the workers get windows and the engine makes batches."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from vidssl.loader.pipeline import Pipeline
from vidssl.loader.sampler import Sampler, Schedule


class Recorder:
    """A worker that is slower than the engine, and an engine. Notes what the thread of the caller does."""

    pending = False

    def __init__(self) -> None:
        self.events: list[str] = []

    def at_hand(self, epoch: int, positions: range) -> list[None]:
        self.events.append("submit")
        return [None] * len(positions)

    def __call__(self, epoch: int, position: int, slot: None) -> str:
        time.sleep(0.01)
        return f"window {position}"

    def output_slots(self, windows: int) -> list[None]:
        return [None] * windows

    def push(self, windows: list[str]) -> None:
        self._pushed = windows

    def pull(self) -> str:
        self.events.append("pull")
        return ", ".join(self._pushed)

    def close(self) -> None:
        pass


def make(batches: int) -> tuple[Recorder, Pipeline]:
    recorder: Any = Recorder()
    rows = np.arange(batches)
    sampler = Sampler(rows=rows, frames=np.full(batches, 9), span=4, seed=0, train=False)
    schedule = Schedule(sampler=sampler, batch_size=1, rank=0, world_size=1)
    return recorder, Pipeline(recorder, recorder, schedule, threads=1)


def test_workers_get_windows_after_the_batch_is_made() -> None:
    recorder, pipeline = make(20)
    with pipeline:
        next(pipeline)
        for number in range(1, 10):
            recorder.events.clear()
            assert next(pipeline).output == f"window {number}"
            assert recorder.events == ["pull", "submit"]  # one batch was taken, so the workers get one more


def test_all_batches_come_once_and_in_order() -> None:
    _, pipeline = make(7)
    with pipeline:
        assert [made.output for made in pipeline] == [f"window {number}" for number in range(7)]
        pipeline.seek(1, 5)
        assert [made.number for made in pipeline] == [5, 6]
