"""Encoders from a Python function: `module:function`, or `path/to/file.py:function`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn

from vidssl import code
from vidssl.types import VidsslError

HF, TIMM = LIBRARIES = ("hf:", "timm:")  # beginnings of names that an installed library builds, without other code
_FUNCTION = "name a function that takes channels and returns a torch module"


def is_code(encoder: str) -> bool:
    """Whether the name of an encoder is one of code that is imported."""
    return ":" in encoder and not encoder.startswith(LIBRARIES)


def check_trusted(encoder: str, *, trust_code: bool) -> None:
    """Raise VidsslError if a run's encoder is built by code that the caller has not allowed to run."""
    if is_code(encoder):
        code.check_trusted(f"encoder={encoder!r}:", "this run's encoder is built by", trust_code=trust_code)


def call_code(encoder: str, *, channels: int, drop_path: float | None = None) -> nn.Module:
    """Import a function and call it with `channels` and, if it is given, `drop_path`.

    Args:
        encoder: module:function, of a module that Python finds, or path/to/file.py:function.
        channels: Input channels.
        drop_path: Rate of the last block in training, which a function with this argument takes.

    Returns:
        The module that it returns.

    Raises:
        VidsslError: It cannot be imported or called, has no argument `drop_path` and shall take one, or returns no
            torch module.
    """
    where, function = f"encoder={encoder!r}:", encoder.rpartition(":")[2]
    make = code.import_code(encoder, where, "function")
    settings = {"channels": channels, **takes_drop_path(make, drop_path, encoder)}
    try:
        made = make(**settings)
    except Exception as error:
        given = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise VidsslError(f"{where} {function}({given}) raises {type(error).__name__}: {error}; {_FUNCTION}") from error
    if not isinstance(made, nn.Module):
        raise VidsslError(f"{where} {function} returns a {type(made).__name__}; {_FUNCTION}")
    return made


def takes_drop_path(make: Callable[..., nn.Module], rate: float | None, encoder: str) -> dict[str, float]:
    """Returns the argument `drop_path` for a function that builds an encoder; nothing if the rate is None.

    Raises:
        VidsslError: The function has no argument of this name.
    """
    if rate is None:
        return {}
    if "drop_path" not in inspect.signature(make).parameters:
        raise no_drop_path(encoder, rate)
    return {"drop_path": rate}


def no_drop_path(encoder: str, rate: float) -> VidsslError:
    """Returns the error for an encoder that has no drop path and shall have one."""
    return VidsslError(
        f"train: drop_path={rate!r}: {encoder} has none; leave it out, or take an encoder that has it: of transformers "
        "(hf:FOLDER), most of timm (timm:NAME), or a function with an argument drop_path, for vidssl.models.DropPath"
    )
