"""Processes of one start find each other, whatever earlier starts have left in their store."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from vidssl.train.muster import muster
from vidssl.types import VidsslError

Found = tuple[str, int]


def begin(pool: ThreadPoolExecutor, store: HashStore, rank: int, restarts: int = 0) -> Future[Found]:
    return pool.submit(muster, store, rank, 3, restarts)


def test_all_get_one_name_and_the_most_restarts() -> None:
    """A machine that was replaced counts restarts from 0."""
    with ThreadPoolExecutor(3) as pool:
        store = HashStore()
        found = {
            one.result() for one in [begin(pool, store, rank, restarts) for rank, restarts in enumerate((1, 0, 2))]
        }
    ((name, restarts),) = found
    assert (name[:6], restarts) == ("start ", 2)


def test_the_next_start_waits_for_those_who_are_late_and_has_another_name() -> None:
    """What the dead have written looks as if all were there: as on a machine whose agent keeps its store."""
    store = HashStore()
    with ThreadPoolExecutor(3) as pool:
        first = {one.result() for one in [begin(pool, store, rank) for rank in range(3)]}
        early = [begin(pool, store, rank) for rank in (1, 0)]
        time.sleep(0.3)
        assert not any(one.done() for one in early)
        second = {one.result() for one in [*early, begin(pool, store, 2)]}
    assert len(first) == len(second) == 1
    assert first != second


def test_one_who_does_not_come_is_an_error() -> None:
    with pytest.raises(VidsslError, match=r"not all of the 3 processes that torchrun started came within 0.2 s"):
        muster(HashStore(), 0, 3, 0, within=timedelta(seconds=0.2))
