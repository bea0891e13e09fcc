"""The result of checking a data set, and the search for its files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vidssl.index.excerpts import Excerpt
from vidssl.index.found import VideoFile
from vidssl.index.sources import find_videos
from vidssl.paths import printable
from vidssl.types import VidsslError

_SHOWN = 10  # names of a list that `Dataset.text` shows


class Entry(NamedTuple):
    """A video that a data set lists.

    Args:
        name: Name of the video in the list.
        path: Path of the file, or of the folder of its frames; None if it is missing.
        label: Name of the class; None if the list has none.
        group: Name of the group; None if the video has none. Train and test should not share a group.
        candidates: Paths of the files that could be the video, if there are several; `path` is None then.
        excerpt: The part of the file that is the video; None for all of it.
    """

    name: str
    path: Path | None
    label: str | None
    group: str | None
    candidates: tuple[str, ...] = ()
    excerpt: Excerpt | None = None

    def row(self) -> Path:
        """The absolute path of the video as an index names it. Raises VidsslError if the file is missing."""
        if self.path is None:
            raise VidsslError(f"datasets: the file of {self.name} is missing")
        return self.path.resolve().with_name(f"{self.path.resolve().name}{self.excerpt or ''}")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set as found on disk.

    Args:
        name: Name of the data set.
        parts: The videos of each part, such as "train_1" and "test_1" for the train and test set of split 1.
        extra: Paths of files that no list names.
        problems: Messages about errors in the lists or files.
        notes: Messages worth knowing that are no errors.
        source: The list that the data set was read from, if it is your own.
    """

    name: str
    parts: dict[str, list[Entry]]
    extra: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    source: Path | None = None

    @property
    def missing(self) -> dict[str, list[str]]:
        """Names of the missing videos, by part. Parts without missing videos are left out.

        A video that could be one of several files is not missing: `problems` names the files.
        """
        found = {
            part: [entry.name for entry in entries if entry.path is None and not entry.candidates]
            for part, entries in self.parts.items()
        }
        return {part: names for part, names in found.items() if names}

    @property
    def present(self) -> int:
        """Number of listed videos that are there."""
        return sum(entry.path is not None for entries in self.parts.values() for entry in entries)

    @property
    def whole(self) -> bool:
        """True if no video is missing and there are no problems."""
        return not self.missing and not self.problems

    def text(self) -> str:
        """Format a table of the parts, followed by problems, missing and extra files, and notes."""
        head = f"{self.name:12s}{'listed':>9s}{'found':>9s}{'missing':>9s}{'classes':>9s}{'groups':>9s}"
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
        lines += _listed("not in any list", self.extra)
        return "\n".join(map(printable, [*lines, *(f"note: {note}" for note in self.notes)]))


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = [f"{what}: and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [*(f"{what}: {name}" for name in names[:_SHOWN]), *more]


class VideoFiles:
    """The videos of a folder. Finds them by name, whatever their file extension is.

    Args:
        videos: Folder of the videos, searched recursively.
        exact: Compare names with regard to case, which distinguishes YouTube's ids.

    Attributes:
        notes: What is ignored in the folder.

    Raises:
        VidsslError: videos is not a folder.
    """

    def __init__(self, videos: Path, *, exact: bool = False) -> None:
        if not videos.is_dir():
            raise VidsslError(
                f"videos={str(videos)!r}: not a folder; name the folder that contains the data set's videos"
            )
        self.root, found, self.notes = find_videos(videos)
        self._exact, self._used = exact, set[str]()
        self._several: dict[tuple[str, ...], None] = {}
        files = [one for one in found if not one.packed]
        self._paths = [one.path for one in files if not one.refused]
        self._folders = {one.path for one in files if one.is_frames}  # their names have no endings
        self._refused = refused_files(files)
        self._whole: dict[tuple[str, str], list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for path in self._paths:
            stem = self._stem(path, whole=path in self._folders)
            self._whole.setdefault((_folder(PurePosixPath(path).parent.name), stem), []).append(path)
            self._ends.setdefault(stem, []).append(path)

    def entry(self, name: str, file: str, label: str | None, group: str | None) -> Entry:
        """Find the file of a video. A file in the folder of its class takes precedence over files elsewhere.

        Args:
            name: Name of the video in the list.
            file: Name of its file, with any extension.
            label: Name of the class, if known.
            group: Name of the group, if any.
        """
        stem = self._stem(file)
        same = self._whole.get((_folder(label or ""), stem)) or self._ends.get(stem, [])
        self._used.update(same)
        if len(same) == 1:
            return Entry(name, self.root / same[0], label, group)
        if same:
            self._several[tuple(same)] = None
        return Entry(name, None, label, group, tuple(same))

    def problems(self) -> list[str]:
        """List each file that cannot be used, and each set of files that could be one video: none of them is taken."""
        several = [f"{' and '.join(paths)}: these files have the same name; keep one" for paths in self._several]
        return self._refused + several

    def unused(self) -> list[str]:
        """List the files that can be no video of an entry."""
        return [path for path in self._paths if path not in self._used]

    def _stem(self, name: str, *, whole: bool = False) -> str:
        stem = PurePosixPath(name).name if whole else PurePosixPath(name).stem
        return stem if self._exact else stem.lower()


def _folder(name: str) -> str:
    """Normalise a folder name, so that HandStandPushups equals HandstandPushups and "riding a bike" riding_a_bike."""
    return re.sub(r"[\s_]+", "_", name.strip().lower())


def shared_groups(first: Sequence[Entry], second: Sequence[Entry]) -> list[str]:
    """List the names of the groups that both parts contain, sorted."""
    a, b = ({entry.group for entry in part if entry.group is not None} for part in (first, second))
    return sorted(a & b)


def empty_files(parts: dict[str, list[Entry]]) -> list[str]:
    """List a problem for each file of 0 bytes."""
    paths = {entry.path for entries in parts.values() for entry in entries if entry.path is not None}
    return [
        f"{path}: empty file; download it again" for path in sorted(paths) if path.is_file() and not path.stat().st_size
    ]


def refused_files(files: Sequence[VideoFile]) -> list[str]:
    """List a problem for each file that is refused by its name, or is a tar that cannot be read."""
    return [f"{one.path}: {one.refused}" for one in files if one.refused]


def duplicate_names(entries: Sequence[Entry], part: str) -> list[str]:
    """List a problem for each name that the part lists more than once."""
    return [
        f"{part} lists {name} {count} times; keep one line"
        for name, count in Counter(entry.name for entry in entries).items()
        if count > 1
    ]


def annotations_in(videos: Path, given: Path | None, names: Sequence[str], pattern: str) -> Path:
    """Find the folder of a data set's lists.

    Args:
        videos: Folder of the videos.
        given: The folder that the user names; None searches for each of `names` in and beside videos.
        names: Names of the folder in the release; "." is the folder of the videos, or the one around it.
        pattern: Glob pattern of the lists.

    Returns:
        The first folder that contains a list.

    Raises:
        VidsslError: No folder contains a list.
    """
    places = [base / name for name in names for base in (videos, videos.parent)]
    folders = [given] if given is not None else places
    for folder in folders:
        if any(folder.glob(pattern)):
            return folder
    value = "" if given is None else f"={str(given)!r}"
    fix = "name the folder that has them" if "." in names else f"name the folder {names[0]} of the release"
    raise VidsslError(f"annotations{value}: no {pattern} in {' or '.join(map(str, folders))}; {fix}")
