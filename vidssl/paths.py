"""Checks where files may be read or written, and makes names printable.

The content of a file must never make vidssl read or write outside of a given folder. What has been written survives a
power cut: files are flushed to the disk (fsync) before they get their name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from vidssl.types import VidsslError

SYNC_SECONDS = 1.0  # least time between two fsyncs of a file that grows
_LONGEST = 200  # bytes of a name that can still be lengthened; file systems take 255
_ASIDE = re.compile(r"\.(.+)\.[1-9][0-9]*\.partial", re.DOTALL)  # of the temporary file: what it begins with
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP)  # the answer of devices, and of file systems that cannot flush a folder


def leads_outside(name: str | PurePosixPath) -> bool:
    """Return True if a name, by its text, may lead out of the folder it is joined to: it is absolute or has ".."."""
    path = PurePosixPath(name) if isinstance(name, str) else name
    return path.is_absolute() or ".." in path.parts


def is_plain(name: str) -> bool:
    """Return True if a text can be part of a file's name: it names no folder, and is not empty, "." or ".."."""
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"}


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
def unmade_if_failed(folder: Path) -> Iterator[None]:
    """If the block fails, delete `folder` and those above it again, as far as they are not there yet and stay empty."""
    new = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    try:
        yield
    except BaseException:
        for one in new:
            with suppress(OSError):  # something lies in it
                one.rmdir()
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` when the block ends.

    If the block fails, the temporary file is deleted. So `path` appears complete or not at all, also after a power cut:
    the file is flushed to the disk before it is renamed, and its folder afterwards. If `path` is a link, symbolic or
    hard, the link is replaced and its target stays unchanged. If `path` exists and is not a regular file, such as
    /dev/stdout, the block writes to `path` itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{_beginning(path.name)}.{os.getpid()}.partial")
    try:
        aside.unlink(missing_ok=True)  # this might be a link as well
        aside.touch()
        mode = stat.S_IMODE(aside.stat().st_mode)  # as the umask says; safetensors lets only the owner read its files
        yield aside
        aside.chmod(mode)
        fsync(aside)
        aside.replace(path)
        fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def unfinished(folder: Path, names: Collection[str]) -> list[Path]:
    """The files in a folder that `atomic_write` left when its process was killed, as it wrote files of these names.

    A folder that cannot be listed has none.
    """
    begins = {_beginning(name) for name in names}
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for one in entries:
            match = _ASIDE.fullmatch(one.name)
            if match is not None and match[1] in begins and one.is_file(follow_symlinks=False):
                found.append(folder / one.name)
    return found


def _beginning(name: str) -> str:
    """What stands for a name in that of its temporary file: a digest if that would be too long otherwise."""
    return name if len(os.fsencode(name)) <= _LONGEST else hashlib.sha256(os.fsencode(name)).hexdigest()


def fsync(path: Path) -> None:
    """Wait until a file or a folder is on the disk. Devices, and file systems that cannot flush a folder, do nothing.

    Raises:
        OSError: The disk is full or does not answer.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        _fsync(handle)
    finally:
        os.close(handle)


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


class GrowingFile:
    """A file that grows by records, and is flushed to the disk (fsync) while it grows and when it is closed.

    A write flushes it only if the last flush is at least SYNC_SECONDS ago, so that many small records cost little.

    Args:
        file: The open file, text or binary.
    """

    _synced: dict[str, float] = {}  # noqa: RUF012 - by path, as a file may be opened anew for each record

    def __init__(self, file: IO[Any]) -> None:
        self._file, self._path, self._pending = file, os.path.abspath(file.name), False

    def write(self, record: str | bytes) -> None:
        """Append a record. Another process sees it at once.

        Raises:
            OSError: The disk is full or does not answer.
        """
        self._file.write(record)
        self._file.flush()
        self._pending = True
        if time.monotonic() - self._synced.get(self._path, -SYNC_SECONDS) >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        _fsync(self._file.fileno())
        self._synced[self._path], self._pending = time.monotonic(), False

    def close(self) -> None:
        """Flush the file to the disk and close it."""
        try:
            if self._pending:
                self.sync()
        finally:
            self._file.close()

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_append(path: Path, *, binary: bool = False) -> GrowingFile:
    """Open a file for appending: text, or bytes.

    If the file is a link, symbolic or hard, it is first replaced by a copy of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    linked = path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
    if linked and (path.is_file() or not path.exists()):
        with atomic_write(path) as aside:
            aside.write_bytes(path.read_bytes() if path.is_file() else b"")
    return GrowingFile(path.open("ab") if binary else path.open("a", encoding="utf-8"))


def check_output(out: Path | None, suffix: str, begins: str, *, argument: str = "out") -> None:
    """Refuse an output file that cannot be written, or would replace a file which vidssl did not write.

    Call this before the work whose result is written.

    Args:
        out: The file to write, or None.
        suffix: The required suffix, such as ".json".
        begins: The text that every file of this kind begins with. An existing file that begins differently is not
            replaced: it may be an input, a file of a run, or anything else.
        argument: Name of the argument, for error messages.

    Raises:
        VidsslError: The name has another suffix, its folder cannot be written, or the existing file was not written by
            vidssl.
    """
    where = f"{argument}={str(out)!r}:"
    if out is None or (out.exists() and not out.is_file()):  # such as /dev/stdout
        return
    if out.suffix.lower() != suffix:
        raise VidsslError(f"{where} name a file that ends in {suffix}")
    folder = next(folder for folder in out.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise VidsslError(f"{where} {printable(folder)} cannot be written to; name a file in another folder")
    if out.is_file():
        with out.open("rb") as file:
            found = file.read(len(begins.encode()))
        if found != begins.encode():
            raise VidsslError(f"{where} this file exists and was not written by this command; name another file")


def write_output(out: Path, text: str, *, argument: str = "out") -> None:
    """Write a file that the user named, whole or not at all.

    Args:
        out: The file.
        text: Its content.
        argument: Name of the argument, for error messages.

    Raises:
        VidsslError: It cannot be written.
    """
    try:
        with atomic_write(out) as aside:
            aside.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise VidsslError(f"{argument}={str(out)!r}: {reason}; name a file that can be written") from error


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


def many_of(count: int, noun: str) -> str:
    """Format a count for people: 1 video, 2 videos."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def parse_bytes(text: str, argument: str) -> int:
    """Returns the number of bytes that a text such as 200GB states.

    Args:
        text: The text.
        argument: What has this value, for error messages.

    Raises:
        VidsslError: The text states no number of bytes.
    """
    number = text.upper().replace(" ", "").rstrip("BKMGT")
    unit = text.upper().replace(" ", "")[len(number) :]
    try:
        return int(float(number) * {"": 1, "B": 1, **dict(_UNITS)}[unit])
    except (ValueError, KeyError, OverflowError) as error:
        raise VidsslError(f"{argument}={text!r}: take a number of bytes with a unit, such as 200GB") from error


def readable(count: int) -> str:
    """Format a number of bytes for people, such as 1.5 GB."""
    return next((f"{count / size:.1f} {unit}" for unit, size in _UNITS if count >= size), f"{count} bytes")
