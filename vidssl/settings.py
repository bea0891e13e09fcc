"""Settings in Python: a value of another type than its field's is an error that names it, before anything is computed.

The command line reads each option by its type, so only Python can give another one.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from functools import cache, wraps
from numbers import Real
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from vidssl.types import VidsslError

_CALLED = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", NoneType: "None"}


class Settings:
    """Base of frozen dataclasses of settings, whose values are checked against the types of their fields.

    A list becomes a tuple where one is wanted, and a number of numpy one of Python, as files hold them. The check comes
    before a subclass's own `__post_init__`, which need not call this one.

    Args:
        owner: How errors name what has these settings; none takes the name of the class.
    """

    _called: ClassVar[str] = ""

    def __init_subclass__(cls, owner: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._called = owner or cls._called
        if "__post_init__" not in vars(cls):
            return
        own = cls.__post_init__

        @wraps(own)
        def checked(self: Settings) -> None:
            Settings.__post_init__(self)
            own(self)

        cls.__post_init__ = checked  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        kinds = _kinds(type(self))  # type: ignore[arg-type]
        for field in fields(self):  # type: ignore[arg-type]
            if not field.init or field.name not in kinds:
                continue
            value, kind = getattr(self, field.name), kinds[field.name]
            try:
                fits = conform(value, kind)
            except TypeError as error:
                fix = f"take {describe(kind)}"
                raise VidsslError(f"{self._owner()}: {field.name}={value!r}: {fix}") from error
            object.__setattr__(self, field.name, fits)

    def _owner(self) -> str:
        return self._called or type(self).__name__


@cache
def _kinds(owner: type) -> Mapping[str, Any]:
    """The type of each field; none if they cannot be told, as of a task whose types only a type checker imports."""
    try:
        return get_type_hints(owner)
    except NameError:
        return {}


def conform(value: Any, kind: Any) -> Any:
    """Returns a value as one of a type.

    Args:
        value: Any object.
        kind: The type, as a field declares it. Of other generic types than tuple, only the class is compared.

    Raises:
        TypeError: It is none.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for part in parts:
            with suppress(TypeError):
                return conform(value, part)
        raise TypeError
    if origin is tuple and parts:
        if not isinstance(value, tuple | list):
            raise TypeError
        kinds = [parts[0]] * len(value) if parts[-1] is ... else parts
        if len(value) != len(kinds):
            raise TypeError
        return tuple(map(conform, value, kinds))
    if kind is int and not isinstance(value, bool):
        return operator.index(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return value if isinstance(value, int | float) else float(value)
    if kind in (int, float) or not _is_one(value, origin, kind, parts):
        raise TypeError
    return value


def _is_one(value: Any, origin: Any, kind: Any, parts: tuple[Any, ...]) -> bool:
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    kind = origin or kind
    compared = kind is not Any and isinstance(kind, type) and not getattr(kind, "_is_protocol", False)
    return not compared or isinstance(value, kind)


def describe(kind: Any) -> str:
    """Returns how an error asks for a value of a type: "a whole number or None"."""
    *first, last = _words(kind)
    return f"{', '.join(first)} or {last}" if first else last


def _words(kind: Any) -> list[str]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return [word for part in parts for word in _words(part)]
    if origin is Literal:
        return list(map(str, parts))
    if origin is tuple and parts:
        each = f"a tuple, each of it {describe(parts[0])}"
        return [each if parts[-1] is ... else f"({', '.join(map(describe, parts))})"]
    return [_CALLED.get(kind, f"a {getattr(origin or kind, '__name__', kind)}")]
