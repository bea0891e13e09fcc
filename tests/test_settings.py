"""A setting of a wrong type is named with its value and the fix: of every method, and of all other settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_type_hints

import numpy as np
import pytest

from vidssl import VidsslError
from vidssl.evaluate.attentive import Attentive
from vidssl.evaluate.features import Clips
from vidssl.evaluate.finetune import FineTune
from vidssl.evaluate.run import View
from vidssl.kernels.augment import Augment
from vidssl.prepare.encode import Encoding
from vidssl.pretext import METHODS, Pace, Pretext, Vcop
from vidssl.pretext.joint import Joint
from vidssl.settings import Settings, conform, describe
from vidssl.train.config import Recipe, TrainConfig

GIVEN: dict[type, dict[str, Any]] = {
    Recipe: {"pretext": Vcop(), "encoder": "r3d"},
    Clips: {"augment": Augment()},
    Joint: {"tasks": (Vcop(), Pace())},
}
OTHERS = (Augment, Recipe, TrainConfig, FineTune, Encoding, Attentive, View, Clips, Joint)


class Thing:
    def __repr__(self) -> str:
        return "<a thing>"


# One of each kind. A field is given those that are none of its type.
WRONG: tuple[object, ...] = (
    *(None, True, 1.5, float("nan"), "16", b"16", (), (1.5,), ("16",), (None,), (1, "2"), ((1,),), [1, [2]]),
    *({}, {"a": 1}, {1}, 1j, int, Thing(), Path("a"), np.zeros(2), np.str_("16"), np.float64(2.5), lambda: 1),
)


def cases() -> Iterator[Any]:
    for owner in (*METHODS.values(), *OTHERS):
        for field in fields(owner):
            yield pytest.param(owner, field.name, id=f"{owner.__name__}.{field.name}")


@pytest.mark.parametrize(("owner", "name"), list(cases()))
def test_a_value_of_another_type_is_named(owner: type, name: str) -> None:
    kind = get_type_hints(owner)[name]
    refused = [value for value in WRONG if not is_one(value, kind)]
    assert len(refused) >= len(WRONG) - 4
    for value in refused:
        with pytest.raises(VidsslError, match=rf"^[\w ]+: {name}=") as found:
            owner(**{**GIVEN.get(owner, {}), name: value})
        assert repr(value) in str(found.value)
    for value in WRONG:  # one that is of the type may be out of its range
        with suppress(VidsslError):
            owner(**{**GIVEN.get(owner, {}), name: value})


def is_one(value: object, kind: Any) -> bool:
    try:
        conform(value, kind)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (np.int64(3), int, 3),
        (np.float32(0.5), float, 0.5),
        (3, float, 3),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([[1, 2], (np.int8(3), 4)], tuple[tuple[int, int], ...], ((1, 2), (3, 4))),
        (None, int | None, None),
        ("b", Literal["a", "b"] | None, "b"),
        ([], tuple[str, ...], ()),
        ({"a": "not compared"}, dict[str, int], {"a": "not compared"}),
        (print, Callable[[], None], print),
    ],
)
def test_what_means_the_same_becomes_the_value_that_files_hold(value: object, kind: Any, expected: object) -> None:
    found = conform(value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((True, int), (True, float), (1, bool), (1.0, int), ("1", int), ("1", float), (1j, float), (None, str)),
        *((1, Literal[True]), ("c", Literal["a", "b"]), ("ab", tuple[str, ...]), ((1,), tuple[int, int])),
        *(([1], dict[str, int]), (5, Callable[[], None])),
    ],
)
def test_what_is_of_another_type_is_refused(value: object, kind: Any) -> None:
    with pytest.raises(TypeError):
        conform(value, kind)


def test_an_error_says_what_to_take() -> None:
    assert describe(int | None) == "a whole number or None"
    assert describe(tuple[float, ...]) == "a tuple, each of it a number"
    assert describe(tuple[int, bool]) == "(a whole number, True or False)"
    assert describe(Literal["a", "b"]) == "a or b"
    assert describe(Literal["a", "b", "c"] | None) == "a, b, c or None"
    with pytest.raises(VidsslError, match=r"^vcop: clip_length='16': take a whole number$"):
        Vcop(clip_length="16")  # type: ignore[arg-type]
    with pytest.raises(VidsslError, match=r"^pace: paces=1.5: take a tuple, each of it a whole number$"):
        Pace(paces=1.5)  # type: ignore[arg-type]
    with pytest.raises(VidsslError, match=r"^finetune: freeze='stem': take a tuple, each of it a text$"):
        FineTune(freeze="stem")  # type: ignore[arg-type]


def test_a_task_of_ones_own_is_checked_before_its_own_check() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Pretext):
        name: ClassVar[str] = "own"
        lengths: tuple[int, ...] = (1,)

        def __post_init__(self) -> None:
            assert sum(self.lengths) > 0

        table = head = None  # type: ignore[assignment]

    @dataclass(frozen=True, kw_only=True)
    class Child(Own):
        more: float = 0.5

    for own in (Own, Child):
        with pytest.raises(VidsslError, match=r"^own: lengths=\('a',\): take a tuple, each of it a whole number$"):
            own(lengths=("a",))  # type: ignore[arg-type]
        with pytest.raises(AssertionError):
            own(lengths=(-1,))
    with pytest.raises(VidsslError, match=r"^own: more='a': take a number$"):
        Child(more="a")  # type: ignore[arg-type]
    assert Child(lengths=[2], more=np.float32(1)) == Child(lengths=(2,), more=1.0)  # type: ignore[arg-type]


class Shown(Protocol):
    def show(self) -> None: ...


def test_types_that_cannot_be_compared_take_everything() -> None:
    @dataclass(frozen=True)
    class Odd(Settings):
        shown: Shown
        anything: Any = None

    Odd(5)  # type: ignore[arg-type]

    @dataclass(frozen=True)
    class Unknown(Settings):
        of: NotImported  # type: ignore[name-defined]  # noqa: F821

    Unknown(5)
