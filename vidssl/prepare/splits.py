"""Copies the lists of files that belong to a data set, with the new names of its videos."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from vidssl.files import read_text
from vidssl.paths import atomic_write, leads_outside, output_path, resolve_folder

ENDINGS = (".txt", ".csv", ".tsv", ".list")
_LARGEST = 10_000_000  # bytes; larger files are not lists
_NAME = re.compile(r"[^\s,;\"']+")


def copy_lists(
    source: Path, root: Path, out: Path, names: Mapping[str, str], *, taken: Iterable[str] = ()
) -> list[str]:
    """Copies every list below `source` that names a video to the same path below `out`, with the new names.

    Args:
        source: Folder that is searched for lists.
        root: Folder of the videos.
        out: Folder of the new videos.
        names: Path of each video below `root` to its path below `out`. A list may also name a video relative to its own
            folder, or by the end of its path.
        taken: Names in `out` that are in use; a list of such a name becomes source_NAME.

    Returns:
        Paths of the copies, below `out`.
    """
    found: list[Path] = []
    for base, folders, files in os.walk(source):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not os.path.samefile(Path(base, name), out)
        )
        found += [Path(base, name) for name in sorted(files) if Path(name).suffix.lower() in ENDINGS]
    videos, used = _Videos(root, out, names), set(taken)
    copied = []
    for path in found:
        try:
            text = read_text(path, limit=_LARGEST)
        except (OSError, UnicodeDecodeError):
            continue
        place = path.relative_to(source).as_posix()
        while place in used:
            place = f"source_{place}"
        new = videos.renamed(text, path.parent, output_path(out, place).parent)
        if new is not None:
            with atomic_write(out / place) as aside:
                aside.write_text(new, encoding="utf-8")
            copied.append(place)
            used.add(place)
    return copied


class _Videos:
    """Looks up the new name of a video by any name that a list may use for it."""

    def __init__(self, root: Path, out: Path, names: Mapping[str, str]) -> None:
        self._out, self._names = out, names
        self._places = {resolve_folder(root / old): new for old, new in names.items()}
        # the last part of a path, the last two parts, ... to the new paths of all videos that end with them
        self._ends: dict[str, set[str]] = {}
        for old, new in names.items():
            parts = PurePosixPath(old).parts
            for count in range(1, len(parts) + 1):
                self._ends.setdefault("/".join(parts[-count:]), set()).add(new)

    def renamed(self, text: str, folder: Path, target: Path) -> str | None:
        """Returns the text of a list in `folder`, rewritten for `target`; None if it names no video."""
        count = 0

        def renamed(word: re.Match[str]) -> str:
            nonlocal count
            name = self._of(word[0], folder, target)
            count += name is not None
            return word[0] if name is None else name

        new = _NAME.sub(renamed, text)
        return new if count else None

    def _of(self, word: str, folder: Path, target: Path) -> str | None:
        key = word.removeprefix("./")
        parts = PurePosixPath(key).parts
        if not parts or parts[-1] not in self._ends:
            return None
        place = self._places.get(resolve_folder(folder / key))
        if place is not None:
            return os.path.relpath(self._out / place, target)
        if key in self._names:
            return self._names[key]
        for count in range(len(parts), 0, -1):
            same = self._ends.get("/".join(parts[-count:]), set())
            if leads_outside(key):  # else it would lead to the old video
                if len(same) == 1:
                    return os.path.relpath(self._out / next(iter(same)), target)
            elif len(ends := {PurePosixPath(new).parts[-count:] for new in same}) == 1:
                return "/".join((*parts[:-count], *next(iter(ends))))
        return None
