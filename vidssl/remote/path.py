"""A URL as a path: joined, compared and printed as paths are, and read through fsspec."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path, PosixPath
from typing import Any, NoReturn

from vidssl.paths import atomic_write, printable
from vidssl.remote import fetch
from vidssl.remote.cache import cache
from vidssl.remote.file import HEADERS, PIECE, RemoteFile
from vidssl.types import VidsslError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_COLLAPSED = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # pathlib makes one slash of two
# What is named like this is a file; any other URL that is to be listed is a folder.
_FILES = re.compile(r"\.(arrow|csv|tsv|txt|t(ar|gz|bz2?|xz|zst)(\.[a-z0-9]+)?)$", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Return True if a text begins like a URL: SCHEME://."""
    return _URL.match(text) is not None


def common_folder(paths: Sequence[str], where: str) -> Path:
    """The deepest folder that holds all of these absolute paths or URLs.

    Args:
        paths: The paths, at least one.
        where: Beginning of the error.

    Raises:
        VidsslError: They are of several servers or buckets, or only some are URLs.
    """
    servers = {"/".join(path.split("/")[:3]) if is_url(path) else "": path for path in paths}
    if len(servers) > 1:
        first, second = [*servers.values()][:2]
        raise VidsslError(
            f"{where}: {printable(first)} and {printable(second)} are in different places; name files of one bucket or "
            "server, or copy them to one"
        )
    scheme, mark, _ = paths[0].partition("://") if "" not in servers else ("", "", "")
    return as_path(scheme + mark + os.path.commonpath({path[len(scheme + mark) :] for path in paths}))


def as_path(path: str | os.PathLike[str], argument: str = "path") -> Path:
    """The path that a text means: a RemotePath for a URL, also for one that was made a Path, else a Path.

    Raises:
        VidsslError: The argument of this name is no path, or a URL names no bucket or server.
    """
    if isinstance(path, RemotePath):
        return path
    if isinstance(path, Path):
        return RemotePath(path) if _COLLAPSED.match(str(path)) and not path.exists() else path
    if not isinstance(path, str | os.PathLike):
        raise VidsslError(f"{argument}={path!r}: take a path, as text or a pathlib.Path")
    text = os.fspath(path)
    if is_url(text) and not text.partition("://")[2].strip("/"):
        raise VidsslError(f"path={text!r}: it names no bucket or server; write {text}NAME/FOLDER")
    return RemotePath(text) if is_url(text) else Path(text)


def local_copy(path: Path) -> Path:
    """A local path with the bytes of a path, which may be remote: for files that are mapped into memory.

    The copy of a remote file lies beside the pieces of the cache, and is made again when the file has changed.

    Raises:
        OSError: The remote file cannot be read, or the copy cannot be written.
    """
    if not isinstance(path, RemotePath):
        return path
    fetch.forget()
    version = hashlib.sha256(f"{path} {path.stat().st_mtime_ns}".encode()).hexdigest()
    copy = cache().folder / ".whole" / f"{version}{path.suffix}"
    if not copy.is_file():
        with atomic_write(copy) as aside, aside.open("wb") as file, path.open("rb") as source:
            shutil.copyfileobj(source, file, 2**22)
    return copy


class RemotePath(PosixPath):
    """A URL. Joining, comparing, `name`, `suffix` and `parent` are those of a path; nothing is asked for them.

    `exists` is True and `is_dir` goes by the name, without a request: what is not there is said when it is read.
    """

    def __str__(self) -> str:
        return _COLLAPSED.sub(r"\g<0>/", super().__str__())

    def __fspath__(self) -> str:
        return str(self)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """The size, and as st_mtime_ns a number that stands for the version of the file (`fetch.Info`).

        Raises:
            OSError: It is not there, may not be read, or its server does not answer.
        """
        info = fetch.info(str(self))
        return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, info.size, 0, 0, 0), {"st_mtime_ns": info.version})

    def open(self, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        """Open for reading bytes. buffering=0 asks for little at once, for readers that skip most of a file.

        Raises:
            OSError: As `stat`; reading raises it too.
        """
        if mode != "rb":
            self._refuse()
        return self.part(0, fetch.info(str(self)).size, HEADERS if buffering == 0 else PIECE)

    def part(self, offset: int, size: int, piece: int | None = None) -> RemoteFile:
        """Open `size` bytes from `offset` on as a file of their own, such as a member of a tar.

        piece: Bytes of a request; None takes PIECE.
        """
        return RemoteFile(str(self), fetch.info(str(self)), offset, size, piece or PIECE)

    def exists(self, **_: Any) -> bool:
        return True

    def is_dir(self, **_: Any) -> bool:
        return _FILES.search(self.name) is None

    def is_file(self, **_: Any) -> bool:
        return not self.is_dir()

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> RemotePath:
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise VidsslError(f"path={str(self)!r}: a URL, which can only be read here; name a file or folder on a disk")

    # pathlib would do these with a local path that is written like the URL
    mkdir = rmdir = unlink = touch = rename = replace = chmod = iterdir = glob = rglob = _refuse
    symlink_to = hardlink_to = write_text = write_bytes = _refuse
