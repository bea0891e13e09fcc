"""node: what a job gives is handed over in order, one value ahead, however early the job ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from vidssl.deadline import FileTimeoutError
from vidssl.pools import node
from vidssl.types import VidsslError

HERE = Path(__file__)


def given(job: Callable[..., None]) -> list[tuple[str, Any]]:
    """What a job gives; fails if it does not end."""
    found: list[tuple[str, Any]] = []
    thread = threading.Thread(target=lambda: found.extend(node.run({}, job, 3, HERE)), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return found


class AtOnce:
    """Calls a job before it says that the job began."""

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        future: Future[None] = Future()
        try:
            function(*arguments)
            future.set_result(None)
        except VidsslError as error:
            future.set_exception(error)
        return future


def once(number: int, give: Callable[[int], None]) -> None:
    give(number)


def counts(number: int, give: Callable[[int], None]) -> None:
    for one in range(number):
        give(one)
    raise VidsslError("it ends here")


def test_a_job_that_has_ended_before_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_thread", AtOnce)
    assert given(once) == [("result", 3)]


def test_values_come_in_order_and_an_error_last() -> None:
    assert given(counts) == [*(("result", one) for one in range(3)), ("error", "it ends here")]


def test_a_job_is_one_value_ahead() -> None:
    made: list[int] = []
    asked = threading.Event()

    def ahead(number: int, give: Callable[[int], None]) -> None:
        for one in range(2 * number):
            made.append(one)
            if one == 2:
                asked.set()
            give(one)

    values = node.run({}, ahead, 3, HERE)
    assert next(values) == ("result", 0)
    assert asked.wait(60)
    assert made == [0, 1, 2]  # 1 waits to be taken, 2 for room
    assert list(values) == [("result", one) for one in range(1, 6)]


def test_a_job_beyond_its_time_limit_comes_as_late() -> None:
    def slow(number: int, give: Callable[[int], None]) -> None:
        raise FileTimeoutError("a.mp4", "it is slow")

    assert given(slow) == [("late", ("a.mp4", "it is slow"))]


def test_other_versions_and_a_file_that_is_not_there_are_said(tmp_path: Path) -> None:
    (kind, said), *rest = node.run({"vidssl": "9.9"}, once, 3, HERE)
    assert (kind, rest) == ("differs", [])
    assert "not 9.9" in said
    assert [kind for kind, _ in node.run({}, once, 3, tmp_path / "gone")] == ["unseen"]
