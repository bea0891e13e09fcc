"""How paths on the command line become arguments of the commands, and which options a command line gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, get_type_hints

from tyro.conf import Positional, UseAppendAction, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from vidssl.remote import as_path
from vidssl.types import VidsslError

_INTERNAL = ("root", "source")  # what the functions that read videos call the path of them
REGISTRY = ConstructorRegistry()  # of all commands
_GIVEN: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())
_LINE: ContextVar[tuple[str, ...]] = ContextVar("line", default=())


@contextmanager
def giving(arguments: Sequence[str]) -> Iterator[None]:
    """Makes these the arguments that `given` speaks of, during the block."""
    options = [one.partition("=")[0][2:].replace("-", "_") for one in arguments if one.startswith("--")]
    before = _GIVEN.set(frozenset([*options, *(one[3:] for one in options if one.startswith("no_"))]))
    try:
        yield
    finally:
        _GIVEN.reset(before)


def check_once(function: Callable[..., object], arguments: Sequence[str]) -> None:
    """Raises VidsslError if data is given several times to a command that takes one set, and would use the last.

    Args:
        function: The command.
        arguments: Its arguments.
    """
    several = {name for name, kind in get_type_hints(function, include_extras=True).items() if kind is Data}
    for name in {"data", "train", "test"} - several:
        count = sum(one.partition("=")[0] == f"--{name}" for one in arguments)
        if count > 1:
            raise VidsslError(
                f"{name}: given {count} times; only `vidssl train` and `vidssl audit` mix data sets, so name one here: "
                "a folder, a list or an index"
            )


def as_given(message: str, arguments: Sequence[str]) -> str:
    """Names a path, in the message of an error, as the command line does: root='a' of `--data a` becomes data='a'.

    Args:
        message: The message, in which a function of vidssl names the path by its own argument (_INTERNAL).
        arguments: The command line.
    """
    options: dict[str, set[str]] = {}
    for before, one in zip(["", *arguments], arguments, strict=False):
        name, _, value = one.partition("=") if one.startswith("--") else (before, "", one)
        name = name[2:].replace("-", "_") if name.startswith("--") else "data"  # as commands call their first path
        for same in {value, str(Path(value)), value.rpartition(":")[0]} - {"", "."}:
            options.setdefault(same, set()).add(name)
    for value, names in options.items():
        for internal in _INTERNAL if len(names) == 1 else ():
            message = message.replace(f"{internal}={value!r}", f"{min(names)}={value!r}")
    return message


@contextmanager
def reading(arguments: Sequence[str]) -> Iterator[None]:
    """Makes these what `subcommand` and `value_of` speak of, during the block: while the subcommands are made."""
    before = _LINE.set(tuple(arguments))
    try:
        yield
    finally:
        _LINE.reset(before)


def subcommand() -> str:
    """Returns the subcommand that is called; "" for none."""
    return next(iter(_LINE.get()), "")


def value_of(option: str) -> str | None:
    """Returns the text that an option of the subcommand has, before anything else is read; None if it is not given."""
    line = _LINE.get()
    for at, one in enumerate(line):
        name, equals, value = one.partition("=")
        if name == f"--{option}":
            return value if equals else next(iter(line[at + 1 :]), None)
    return None


def given() -> frozenset[str]:
    """Returns the names of the options on the command line of this command, such as batch_size.

    A command that takes settings from a run needs them: a value that equals a default may have been given or not.
    """
    return _GIVEN.get()


def _path(text: str) -> Path:
    if not text:  # of which Path makes the current folder: a variable of a script that was not set
        raise ValueError("the path is empty; name a file or folder, or `.` for the current folder")
    return as_path(text)


@REGISTRY.primitive_rule
def _path_rule(argument: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    if argument.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda texts: _path(texts[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def _several(name: str, needed: str) -> PrimitiveConstructorSpec[tuple[Path, ...]]:
    """Reads several paths. needed: what to say if the option is given without one."""

    def read(texts: list[str]) -> tuple[Path, ...]:
        if not texts:
            raise ValueError(needed)
        return tuple(map(_path, texts))

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{name} [{name} ...]",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(one, Path) for one in value),
        str_from_instance=lambda value: list(map(str, value)),
    )


def _text(texts: list[str]) -> str:
    _path(texts[0])
    return texts[0]


_WEIGHTED: PrimitiveConstructorSpec[str] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="PATH[:WEIGHT]",
    instance_from_str=_text,
    is_instance=lambda value: isinstance(value, str),
    str_from_instance=lambda value: [value],
)
Data = UseAppendAction[tuple[Annotated[str, _WEIGHTED], ...]]  # vidssl.train.data_sets.parse_data reads it
Datasets = Annotated[tuple[Path, ...], _several("PATH", "it needs a data set: a folder, list or index")]
Runs = Annotated[tuple[Path, ...], _several("RUN", "it needs a run: its folder, or a checkpoint")]
# Paths without an option, by what the line of usage calls them.
DataPath = Annotated[Positional[Path], arg(metavar="DATA")]
FolderPath = Annotated[Positional[Path], arg(metavar="FOLDER")]
OutPath = Annotated[Positional[Path], arg(metavar="OUT")]
RunPath = Annotated[Positional[Path], arg(metavar="RUN")]
StorePath = Annotated[Positional[Path], arg(metavar="STORE")]
VideosPath = Annotated[Positional[Path], arg(metavar="VIDEOS")]
