"""pools: what a job gives is handed over with its item; a job that fails or hangs costs its item only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidssl import VidsslError, workers
from vidssl.deadline import Deadline, FileTimeoutError
from vidssl.pools.base import Engine
from vidssl.pools.choose import open_pool
from vidssl.pools.local import LocalPool


def halves(number: int, give: Callable[[int], None]) -> None:
    if number % 2:
        raise VidsslError(f"{number} is odd")
    give(number // 2)
    give(number // 2)


def start(job: Callable[..., None], items: list[int], count: int = 2):  # type: ignore[no-untyped-def]
    return LocalPool(count).start(job, items, name="test", file=lambda _: Path("none"))


def test_each_item_comes_once_with_its_results_or_its_error() -> None:
    with start(halves, list(range(20))) as run:
        parts = [part for some in run.parts(most=3) for part in some]
    assert sorted(part.item for part in parts) == list(range(20))
    for part in parts:
        assert part.ended
        assert part.results == ([part.item // 2] * 2 if part.item % 2 == 0 else [])
        assert str(part.error) == (f"{part.item} is odd" if part.item % 2 else "None")


def test_one_worker_keeps_the_order() -> None:
    with start(halves, list(range(0, 40, 2)), 1) as run:
        assert [part.item for parts in run.parts() for part in parts] == list(range(0, 40, 2))


def test_items_are_taken_as_threads_get_on() -> None:
    """What is known at a time is bounded, also while many are collected, so memory does not grow with the items."""
    taken, ahead = 0, []

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(5000):
            taken = number + 1
            yield number

    handed = 0
    with LocalPool(2).start(_nothing, items(), name="test", file=lambda _: Path("none")) as run:
        assert taken == 64
        for parts in run.parts(most=32):
            handed += len(parts)
            ahead.append(taken - handed)
    assert handed == 5000
    assert max(ahead) <= 64 + 32
    assert min(ahead[: len(ahead) // 2]) >= 32  # and threads have enough to do


def _nothing(item: int, give: Callable[[int], None]) -> None:
    """A job that gives nothing."""


def test_an_error_of_the_program_ends_the_run() -> None:
    def divides(number: int, give: Callable[[float], None]) -> None:
        give(1 / number)

    with pytest.raises(ZeroDivisionError), start(divides, [1, 0], 1) as run:
        list(run.parts())


def test_what_is_done_after_an_interruption_is_handed_over() -> None:
    done = threading.Event()

    def one(number: int, give: Callable[[int], None]) -> None:
        give(number)
        if number == 3:
            done.set()

    with start(one, [1, 2, 3], 1) as run:
        assert [part.item for part in next(run.parts())] == [1]
        assert done.wait(10)
        found = run.rest()
    assert 2 in [part.item for part in found]  # the third job may not have returned yet
    assert [part.results for part in found] == [[part.item] for part in found]


def test_a_job_that_hangs_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_TICK", 0.05)
    monkeypatch.setattr(workers, "_GRACE", 0.1)
    end = threading.Event()

    def one(number: int, give: Callable[[int], None]) -> None:
        with Deadline.enter("file", 0, 0.1):
            if number == 1:
                end.wait(30)
            give(number)

    with start(one, [1, 2], 1) as run:
        parts = {part.item: part for some in run.parts() for part in some}
    end.set()
    assert isinstance(parts[1].error, FileTimeoutError)
    assert parts[2].results == [2]


def test_an_unknown_engine_is_refused() -> None:
    unknown: Engine = "spark"  # type: ignore[assignment]
    with pytest.raises(VidsslError, match="build: engine='spark': take local or ray"):
        open_pool("build", unknown, None)
