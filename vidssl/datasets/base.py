"""What a data set names, and where its files lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vidssl.files import read_text
from vidssl.index.sources import find_videos
from vidssl.paths import printable
from vidssl.types import VidsslError

_SHOWN = 10  # of a list, in what is said


class Entry(NamedTuple):
    """A video that a data set names. path: where it lies; None: it is missing. label: of its class. group: what must
    not be parted.
    """

    name: str
    path: Path | None
    label: str | None
    group: str | None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """parts: the videos of "train_1", "test_1" ... extra: files that no part names. problems: what is wrong; notes:
    what is not.
    """

    name: str
    parts: dict[str, list[Entry]]
    extra: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> dict[str, list[str]]:
        """Names of what is missing, by part; parts that are whole are left out."""
        found = {part: [entry.name for entry in entries if entry.path is None] for part, entries in self.parts.items()}
        return {part: names for part, names in found.items() if names}

    @property
    def whole(self) -> bool:
        """Whether nothing is missing and nothing is wrong."""
        return not self.missing and not self.problems

    def text(self) -> str:
        """For people."""
        head = f"{self.name:12s}{'named':>9s}{'there':>9s}{'missing':>9s}{'classes':>9s}{'groups':>9s}"
        lines = [head]
        for part, entries in self.parts.items():
            there = sum(entry.path is not None for entry in entries)
            classes, groups = ({getattr(entry, what) for entry in entries} - {None} for what in ("label", "group"))
            lines.append(
                f"{part:12s}{len(entries):9d}{there:9d}{len(entries) - there:9d}{len(classes):9d}{len(groups):9d}"
            )
        lines += [f"problem: {problem}" for problem in self.problems]
        for part, names in self.missing.items():
            lines += _listed(f"missing in {part}", names)
        lines += _listed("named nowhere", self.extra)
        return "\n".join(map(printable, [*lines, *(f"note: {note}" for note in self.notes)]))


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = [f"{what}: and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [*(f"{what}: {name}" for name in names[:_SHOWN]), *more]


class VideoFiles:
    """The videos of a folder, found by name whatever their ending is. exact: names differ by their case too (YouTube's
    do).
    """

    def __init__(self, videos: Path, *, exact: bool = False) -> None:
        if not videos.is_dir():
            raise VidsslError(f"videos={str(videos)!r}: not a folder; name the one that the data set's videos lie in")
        self.root, found = find_videos(videos)
        self._exact, self._used = exact, set[str]()
        self._paths = [one.path for one in found if one.archive is None]
        self._whole: dict[tuple[str, str], list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for path in self._paths:
            stem = self._stem(path)
            self._whole.setdefault((_folder(PurePosixPath(path).parent.name), stem), []).append(path)
            self._ends.setdefault(stem, []).append(path)

    def get(self, name: str, label: str | None) -> Path | None:
        """The file of a name, in the folder of its class if it lies in one; None where there is none, or several it
        could be.
        """
        same = self._whole.get((_folder(label or ""), self._stem(name))) or self._ends.get(self._stem(name), [])
        if len(same) != 1:
            return None
        self._used.add(same[0])
        return self.root / same[0]

    def unused(self) -> list[str]:
        """Files that nobody asked for."""
        return [path for path in self._paths if path not in self._used]

    def duplicates(self) -> list[str]:
        """What is wrong: files of one name in one folder, which cannot be told apart."""
        return [
            f"{' and '.join(paths)}: the same name twice; keep one" for paths in self._whole.values() if len(paths) > 1
        ]

    def _stem(self, name: str) -> str:
        stem = PurePosixPath(name).stem
        return stem if self._exact else stem.lower()


def _folder(name: str) -> str:
    """Of one kind: HandStandPushups and HandstandPushups, "riding a bike" and riding_a_bike."""
    return re.sub(r"[\s_]+", "_", name.strip().lower())


def shared_groups(first: Sequence[Entry], second: Sequence[Entry]) -> list[str]:
    """Names of groups that are in both parts."""
    a, b = ({entry.group for entry in part if entry.group is not None} for part in (first, second))
    return sorted(a & b)


def empty_files(parts: dict[str, list[Entry]]) -> list[str]:
    """What is wrong: files without a byte in them."""
    paths = {entry.path for entries in parts.values() for entry in entries if entry.path is not None}
    return [f"{path}: empty file; fetch it again" for path in sorted(paths) if path.stat().st_size == 0]


def duplicate_names(entries: Sequence[Entry], part: str) -> list[str]:
    """What is wrong: names that stand in a part twice."""
    return [
        f"{part}: {name} stands in it {count} times"
        for name, count in Counter(entry.name for entry in entries).items()
        if count > 1
    ]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not empty. Raises VidsslError where it cannot be read."""
    try:
        return [line.strip() for line in read_text(path, "utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise VidsslError(f"annotations: {path}: cannot be read as text ({error})") from error


def annotations_in(videos: Path, given: Path | None, name: str, pattern: str) -> Path:
    """The folder of a data set's lists: as given, else `name` in or beside the folder of videos. Raises VidsslError
    where it has none.
    """
    places = [given] if given is not None else [videos / name, videos.parent / name]
    for place in places:
        if any(place.glob(pattern)):
            return place
    said = "" if given is None else f"={str(given)!r}"
    raise VidsslError(
        f"annotations{said}: no {pattern} in {' or '.join(map(str, places))}; name the folder {name} of the release"
    )
