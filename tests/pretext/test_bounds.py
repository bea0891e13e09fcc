"""Every number of a task is compared with what a plan can hold before a table is made of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import pytest

from vidssl.kernels.plan import MAX_PLACES
from vidssl.pretext.registry import METHODS
from vidssl.types import VidsslError

HUGE = (MAX_PLACES + 1, 10**11, 2**63, 10**30)
NUMBERS = [
    (name, field.name)
    for name, method in METHODS.items()
    for field in fields(method)
    if field.type in ("int", "int | None", "tuple[int, ...]", "Literal[3, 4]")
]


def test_the_settings_are_found() -> None:
    assert {("vcop", "clip_length"), ("pace", "paces"), ("opn", "window"), ("jigsaw", "hidden")} <= set(NUMBERS)


@pytest.mark.parametrize(("name", "setting"), NUMBERS)
def test_a_huge_number_is_refused_by_its_name(name: str, setting: str) -> None:
    task = METHODS[name]()
    for value in HUGE:
        given: Any = (1, value) if isinstance(getattr(task, setting), tuple) else value
        with pytest.raises(VidsslError, match=rf"^{name}: .*{setting}=.*{value}.*: .*take "):
            replace(task, **{setting: given})


@pytest.mark.parametrize(("name", "setting"), NUMBERS)
def test_what_is_not_refused_makes_a_plan(name: str, setting: str) -> None:
    """Numbers below the bounds."""
    task = METHODS[name]()
    if isinstance(getattr(task, setting), tuple):
        return
    for power in range(1, 31):
        with suppress(VidsslError):
            task = replace(task, **{setting: 2**power})
        assert task.plan.frames <= MAX_PLACES
