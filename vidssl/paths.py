"""paths: where a file may be read or written, and how its name is shown. What a file says is never a reason to leave a
folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TextIO

from vidssl.types import VidsslError


def leads_outside(name: str) -> bool:
    """Whether a name, joined to a folder, may lead out of it by its text alone: it is absolute, or goes up."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def output_path(folder: Path, name: str) -> Path:
    """FOLDER/NAME, to be written. Links are followed, those in `folder` too; `folder` itself may be one.

    Raises VidsslError where that is not inside `folder`.
    """
    path = folder / name
    if leads_outside(name):
        raise VidsslError(f"path={name!r}: it leads out of {printable(folder)}; name a path below that folder")
    # A file that is a link is replaced, not written to, so only the folders count (see `written`).
    real = Path(os.path.realpath(path if path.is_dir() else path.parent))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise VidsslError(
            f"path={str(path)!r}: a link leads out of {printable(folder)}, to {printable(real)}; remove the link, or "
            "name that folder"
        )
    return path


def input_path(folder: Path, name: str, *, allow_outside: bool = False) -> Path:
    """FOLDER/NAME, to be read, where `name` or what lies there comes from elsewhere. Links are followed, also the last
    one.

    Raises VidsslError where that is not inside `folder`, unless `allow_outside`.
    """
    path = folder / name
    if not allow_outside and (
        leads_outside(name) or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    ):
        raise VidsslError(
            f"path={name!r}: it leads out of {printable(folder)}, to {printable(os.path.realpath(path))}; if you trust "
            "what names it, say "
            "allow_outside=True (--allow-outside)"
        )
    return path


def resolve_folder(path: Path) -> str:
    """The place that a path names: links to folders are followed, the last part is taken as it is."""
    return os.path.join(os.path.realpath(path.parent), path.name)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write what `path` is to hold: a file aside, which takes its place when the block ends, and is gone if
    the block fails.

    So a file is there whole or not at all. One that is a link, symbolic or hard, is replaced; what it is a link to
    stays as it is. What is no file, such as /dev/stdout, is written to itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.unlink(missing_ok=True)  # it might be a link too
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def open_append(path: Path) -> TextIO:
    """A text file that is open to go on with, line by line. One that is a link, symbolic or hard, becomes a file of its
    own first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    linked = path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
    if linked and (path.is_file() or not path.exists()):
        with atomic_write(path) as aside:
            aside.write_bytes(path.read_bytes() if path.is_file() else b"")
    return path.open("a", buffering=1, encoding="utf-8")


def check_output(out: Path | None, suffix: str, begins: str) -> None:
    """Refuses an output file that would replace somebody else's file. Call it before the work whose result is written.

    Args:
        out: The file that a command is to write, or None.
        suffix: What its name must end in, such as ".json".
        begins: How a file of this kind begins. A file that is there and begins in another way is not replaced: it may be
            an input, a run's own file, or anything else.

    Raises:
        VidsslError: The name has another suffix, or the file that is there was not written by vidssl.
    """
    if out is None or (out.exists() and not out.is_file()):  # such as /dev/stdout
        return
    if out.suffix.lower() != suffix:
        raise VidsslError(f"out={str(out)!r}: it must end in {suffix}; name such a file")
    if out.is_file():
        with out.open("rb") as file:
            found = file.read(len(begins.encode()))
        if found != begins.encode():
            raise VidsslError(
                f"out={str(out)!r}: this file is there, and was not written by this command; name another one"
            )


def markdown_code(text: str) -> str:
    """Text with names in it as Markdown that shows it as it is, for TensorBoard: links and pictures in a name stay
    letters.
    """
    return "\n".join(f"    {line}" for line in printable(text, lines=True).split("\n"))


def printable(text: object, *, lines: bool = False) -> str:
    """A name, or any text with names in it, for a message: control characters, which a terminal would obey, are
    escaped.

    lines: line feeds and tabs stay.
    """
    kept = "\n\t" if lines else ""
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in str(text))
