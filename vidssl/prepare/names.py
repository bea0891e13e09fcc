"""Gives each source a new file of its own.

The names of a set of sources do not depend on their order. A source keeps its name when others are added or removed,
because the names of earlier calls are known from the journal.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from vidssl.paths import leads_outside, printable
from vidssl.types import VidsslError

ENDING = ".mp4"
COMPONENT, WHOLE = 255, 1000  # longest name that Linux's file systems take, and longest path below OUT, in bytes
_FORMS = 5


def targets(paths: Sequence[str], known: Mapping[str, str] | None = None, *, taken: Sequence[str] = ()) -> list[str]:
    """Return the path below OUT of each source's new file.

    No path equals, or is a folder of, another one. Every path stays below OUT, and each of its parts has at most 255
    bytes. A source's folders are kept, and its ending becomes .mp4. Where two sources would collide, both keep their
    old endings. If this is not enough, or a name is too long, the name ends in a checksum of the source's path.

    Args:
        paths: Path of each source, with forward slashes.
        known: For sources of earlier calls, path to new path. These names are kept, and not given to other sources.
        taken: Names in OUT that no source may have.

    Raises:
        VidsslError: A path is given twice.
    """
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        raise VidsslError(f"prepare: {printable(twice)} is one of the videos twice; name it once")
    kept = _usable(known or {}, taken)
    form = [0] * len(paths)
    new = [kept.get(path) or _form(path, 0) for path in paths]
    free = [row for row, path in enumerate(paths) if path not in kept]
    while clash := _clash(new, free, set(kept.values()), taken):
        plainest = min(form[row] for row in clash)
        for row in (row for row in clash if form[row] == plainest):
            form[row] += 1
            if form[row] == _FORMS:
                raise VidsslError(f"prepare: {printable(paths[row])}: no name is left for it in OUT; rename it")
            new[row] = _form(paths[row], form[row])
    return new


def _usable(known: Mapping[str, str], taken: Sequence[str]) -> dict[str, str]:
    """The known names that can be kept: the journal that they come from may be damaged."""
    often = Counter(known.values())
    folders = {str(folder) for name in known.values() for folder in PurePosixPath(name).parents}
    return {
        path: name
        for path, name in known.items()
        if often[name] == 1
        and name not in folders
        and name == str(PurePosixPath(name))
        and name.endswith(ENDING)
        and not leads_outside(name)
        and all(0 < len(os.fsencode(part)) <= COMPONENT for part in name.split("/"))
        and name.partition("/")[0] not in taken
    }


def _clash(names: Sequence[str], free: Sequence[int], kept: set[str], taken: Sequence[str]) -> list[int]:
    """The free rows whose name is also the name, a folder, or a file below a kept name, of another source."""
    often = Counter([*(names[row] for row in free), *kept])
    folders = {str(folder) for name in (*names, *kept) for folder in PurePosixPath(name).parents}
    return [
        row
        for row in free
        if often[names[row]] > 1
        or names[row] in folders
        or names[row].partition("/")[0] in taken
        or not kept.isdisjoint(map(str, PurePosixPath(names[row]).parents))
    ]


def _form(path: str, form: int) -> str:
    """A name for a source. Later forms are longer, and less like the source.

    0: the old ending becomes .mp4. 1: .mp4 follows the old ending. 2: with a checksum. 3: with a checksum, directly in
    OUT. 4: with a longer checksum.
    """
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
    parts = [part for part in path.split("/") if part not in ("", ".", "..")] or ["video"]
    *folders, last = parts
    folders = [_short(part, "", "/".join(folders[: at + 1])) for at, part in enumerate(folders)]
    stem = PurePosixPath(last).stem if form == 0 else last
    tail = ENDING if form < 2 else f"~{digest[: 64 if form == 4 else 8 * form - 8]}{ENDING}"
    name = "/".join([*(folders if form < 3 else []), _short(stem, tail, path)])
    return name if len(os.fsencode(name)) <= WHOLE else _form(path, max(form + 1, 3))


def _short(stem: str, tail: str, path: str) -> str:
    """STEM and TAIL; if this is too long, the stem is cut and a checksum of `path` follows it."""
    if len(os.fsencode(stem + tail)) <= COMPONENT:
        return stem + tail
    if "~" not in tail:
        tail = f"~{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:8]}{tail}"
    cut = os.fsencode(stem)[: COMPONENT - len(tail.encode())]
    return cut.decode(errors="ignore") + tail
