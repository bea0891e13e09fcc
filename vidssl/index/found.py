"""What a source holds: its videos, and what is ignored and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vidssl.index.excerpts import Excerpt, excerpt_in

NOT_UTF8 = "its name, or that of a folder it is in, is not UTF-8; rename it"
_KINDS, _NAMES = 20, 3  # kinds that the notes name, and names of each


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFile:
    """One video of a source.

    Attributes:
        path: Path relative to the root and below it, with forward slashes. For a member of a tar: the path of the tar,
            then the name of the member. For a folder of frames: the folder. For an excerpt: see vidssl.index.excerpts.
            It is valid Unicode, and no other video of the source has it.
        label: Class name, or None.
        group: Name of the group, or None.
        archive: The path of the file to open, if it is another one: for a member, the tar; for a folder of frames, the
            first picture; for an excerpt, the file that it is of.
        offset: For a member, its first byte in the tar.
        bytes: For a member, its length in bytes.
        refused: Why the video cannot be used, if that is already certain.
        excerpt: The part of the file that is the video; None for all of it.
    """

    path: str
    label: str | None
    group: str | None = None
    archive: str | None = None
    offset: int | None = None
    bytes: int | None = None
    refused: str = ""
    excerpt: Excerpt | None = None

    @property
    def file(self) -> str:
        """The file to open."""
        return self.archive or self.path

    @property
    def packed(self) -> bool:
        """True for a member of a tar."""
        return self.offset is not None

    @property
    def is_frames(self) -> bool:
        """True for a folder of frames."""
        return self.archive is not None and not self.packed and self.excerpt is None

    @classmethod
    def recorded(cls, path: str, archive: str | None, offset: int | None, size: int | None) -> VideoFile:
        """The video of a row of an index, from its columns `path`, `archive`, `offset` and `bytes`.

        Raises:
            VidsslError: The index is damaged.
        """
        excerpt = excerpt_in(path, archive)
        size = None if offset is None else size
        return cls(path=path, label=None, archive=archive, offset=offset, bytes=size, excerpt=excerpt)


class Found(NamedTuple):
    """The videos of a source.

    Attributes:
        root: The folder that paths are relative to.
        videos: The videos ordered by path.
        notes: What is worth knowing about the source: what is ignored, or a line of a list that names a video again.
    """

    root: Path
    videos: list[VideoFile]
    notes: list[str]


class Ignored:
    """Counts what is ignored in a source, by kind, and remembers a few names of each kind."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Count one file, member or folder.

        Args:
            kind: What it is, or why it is ignored.
            name: Its path in the source.
        """
        self._counts[kind] += 1
        names = self._names.setdefault(kind, [])
        if len(names) < _NAMES:
            names.append(name)

    def notes(self) -> list[str]:
        """One line for each kind, the most frequent ones first."""
        lines = []
        for kind, count in self._counts.most_common(_KINDS):
            more = ", ..." if count > _NAMES else ""
            lines.append(f"{count} ignored ({kind}): {', '.join(self._names[kind])}{more}")
        rest = self._counts.most_common()[_KINDS:]
        return [*lines, f"{sum(count for _, count in rest)} ignored, of {len(rest)} more kinds"] if rest else lines


def hidden(folder: str) -> bool:
    """True for a folder that is not searched, by its name."""
    return folder.startswith(".") or folder == "__MACOSX"


def as_utf8(name: str) -> str:
    """A name as valid Unicode: what is not UTF-8 in the name of a file becomes escapes, such as `\\udce9`."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()
