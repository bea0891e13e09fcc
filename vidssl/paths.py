"""Checks where files may be read or written, and makes names printable.

The content of a file must never make vidssl read or write outside of a given folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TextIO

from vidssl.types import VidsslError


def leads_outside(name: str) -> bool:
    """Return True if a name, by its text, may lead out of the folder it is joined to: it is absolute or has ".."."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def output_path(folder: Path, name: str) -> Path:
    """Return FOLDER/NAME as a path to write to.

    Links are followed, including those in `folder`; `folder` itself may be a link.

    Raises:
        VidsslError: The path is not inside `folder`.
    """
    path = folder / name
    if leads_outside(name):
        raise VidsslError(f"path={name!r}: it leads out of {printable(folder)}; name a path below that folder")
    # Only the folders matter: a file that is a link is replaced, not written through (see `atomic_write`).
    real = Path(os.path.realpath(path if path.is_dir() else path.parent))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise VidsslError(
            f"path={str(path)!r}: a link leads out of {printable(folder)}, to {printable(real)}; "
            "remove the link, or name that folder"
        )
    return path


def input_path(folder: Path, name: str, *, allow_outside: bool = False) -> Path:
    """Return FOLDER/NAME as a path to read, where `name` or the content of `folder` comes from elsewhere.

    Links are followed, including the last part of the path.

    Args:
        folder: The folder to stay in.
        name: Path relative to `folder`.
        allow_outside: Accept a path outside of `folder`.

    Raises:
        VidsslError: The path is not inside `folder`, and `allow_outside` is False.
    """
    path = folder / name
    if not allow_outside and (
        leads_outside(name) or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    ):
        raise VidsslError(
            f"path={name!r}: it leads out of {printable(folder)}, to {printable(os.path.realpath(path))}; "
            "if you trust its origin, pass allow_outside=True (--allow-outside)"
        )
    return path


def resolve_folder(path: Path) -> str:
    """Resolve the links in the folder of a path, but keep the last part as it is."""
    return os.path.join(os.path.realpath(path.parent), path.name)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` when the block ends.

    If the block fails, the temporary file is deleted. So `path` appears complete or not at all. If `path` is a link,
    symbolic or hard, the link is replaced and its target stays unchanged. If `path` exists and is not a regular file,
    such as /dev/stdout, the block writes to `path` itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.unlink(missing_ok=True)  # this might be a link as well
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def open_append(path: Path) -> TextIO:
    """Open a text file for appending, line-buffered.

    If the file is a link, symbolic or hard, it is first replaced by a copy of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    linked = path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
    if linked and (path.is_file() or not path.exists()):
        with atomic_write(path) as aside:
            aside.write_bytes(path.read_bytes() if path.is_file() else b"")
    return path.open("a", buffering=1, encoding="utf-8")


def check_output(out: Path | None, suffix: str, begins: str) -> None:
    """Refuse an output file that would replace a file which vidssl did not write.

    Call this before the work whose result is written.

    Args:
        out: The file to write, or None.
        suffix: The required suffix, such as ".json".
        begins: The text that every file of this kind begins with. An existing file that begins differently is not
            replaced: it may be an input, a file of a run, or anything else.

    Raises:
        VidsslError: The name has another suffix, or the existing file was not written by vidssl.
    """
    if out is None or (out.exists() and not out.is_file()):  # such as /dev/stdout
        return
    if out.suffix.lower() != suffix:
        raise VidsslError(f"out={str(out)!r}: name a file that ends in {suffix}")
    if out.is_file():
        with out.open("rb") as file:
            found = file.read(len(begins.encode()))
        if found != begins.encode():
            raise VidsslError(
                f"out={str(out)!r}: this file exists and was not written by this command; name another file"
            )


def markdown_code(text: str) -> str:
    """Format text for TensorBoard as a Markdown code block, so that links and images in names stay plain text."""
    return "\n".join(f"    {line}" for line in printable(text, lines=True).split("\n"))


def printable(text: object, *, lines: bool = False) -> str:
    """Escape the control characters in a text for a message, since a terminal would execute them.

    Args:
        text: A name, or a text with names in it.
        lines: Keep line feeds and tabs.
    """
    kept = "\n\t" if lines else ""
    return "".join(one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in str(text))
