"""Copies the lists of files that belong to a data set, with the new names of its videos."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vidssl.index.kinds import EXTENSIONS
from vidssl.index.lists import delimiter_of, quote, read_list_text, split_records
from vidssl.paths import leads_outside, output_path, resolve_folder
from vidssl.prepare.journal import Journal
from vidssl.types import VidsslError

ENDINGS = (".txt", ".csv", ".tsv", ".list")
_WORD = re.compile(r"[^\s,;\"']+")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")


def copy_lists(
    source: Path,
    root: Path,
    out: Path,
    names: Mapping[str, str | None],
    journal: Journal,
    *,
    taken: Iterable[str] = (),
) -> CopiedLists:
    """Copies every list below `source` that names a video to the same path below `out`, with the new names.

    A line that names a video without a new file is left out.

    Args:
        source: Folder that is searched for lists.
        root: Folder of the videos.
        out: Folder of the new videos.
        names: Path of each video below `root` to its path below `out`, or None if it has no new file. A list may also
            name a video relative to its own folder, or by the end of its path.
        journal: The journal of `out`, open to write to.
        taken: Names in `out` that are in use. A list of such a name, or of the name of a file that `prepare` did not
            write or that has changed since, becomes source_NAME.

    Returns:
        The copies, and what could not be copied. A file that names no video is no list, and left out of both.
    """
    found: list[Path] = []
    copied, failed, places = dict[str, int](), list[tuple[str, str]](), list[str]()

    def unlisted(error: OSError) -> None:
        failed.append((os.path.relpath(error.filename, source), f"a folder that cannot be read: {error.strerror}"))

    for base, folders, files in os.walk(source, onerror=unlisted):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not os.path.samefile(Path(base, name), out)
        )
        found += [Path(base, name) for name in sorted(files) if Path(name).suffix.lower() in ENDINGS]
    videos, used = _Videos(root, out, names), set(taken)
    for path in found:
        name = place = path.relative_to(source).as_posix()
        while place in used or not journal.may_write(place):
            place = f"source_{place}"
        try:
            text = read_list_text(path, name)
        except VidsslError as error:
            failed.append((name, str(error).removeprefix(f"{name}: ")))
            places.append(place)
            continue
        new = _Renamed(videos, text, path.parent, output_path(out, place).parent)
        if new.count:
            with journal.writing(place) as aside:
                aside.write_bytes(new.text.encode())
            copied[place] = new.lost
            used.add(place)
        elif new.lost:
            places.append(place)
    return CopiedLists(copied, failed, places)


class CopiedLists(NamedTuple):
    """What became of the lists below a folder.

    Attributes:
        copied: For each copy, its path below OUT and the number of lines that it leaves out.
        failed: (path, reason) of each list that could not be read, and of each folder that could not be listed.
        places: Paths below OUT of earlier copies of lists that could not be read, or of which no video has a new file
            now. The lists are still there, so these copies are not stale.
    """

    copied: dict[str, int]
    failed: list[tuple[str, str]]
    places: list[str]


class _Part(NamedTuple):
    """A row of a table, or a line of another list.

    Attributes:
        raw: Its text, with its line end.
        fields: (start, end, text, True if in quotation marks) of each field in `raw`.
        delimiter: Delimiter of the table; "" for a line of another list, which is one field.
    """

    raw: str
    fields: list[tuple[int, int, str, bool]]
    delimiter: str


class _Renamed:
    """The text of a list, with new names. All that names no video stays as it is, line ends too.

    Attributes:
        text: The new text.
        count: Number of names that were replaced.
        lost: Number of lines that are left out, because a video that they name has no new file.
    """

    def __init__(self, videos: _Videos, text: str, folder: Path, target: Path) -> None:
        self._videos, self._folder, self._target = videos, folder, target
        self.count = self.lost = 0
        self.text = "".join(map(self._part, _table(text) or _lines(text)))

    def _part(self, part: _Part) -> str:
        out, at, count = list[str](), 0, 0
        for start, end, text, quoted in part.fields:
            found = self._replaced(text)
            if found is None:
                self.lost += 1
                return ""
            new, replaced = found
            if replaced:
                out += [part.raw[at:start], quote(new, part.delimiter, always=quoted) if part.delimiter else new]
                at, count = end, count + replaced
        self.count += count
        return "".join([*out, part.raw[at:]])

    def _replaced(self, text: str) -> tuple[str, int] | None:
        """A field with new names, and their number; None if a video that it names has no new file.

        Names may hold blanks and commas, so the longest run of words that is a name is replaced.
        """
        try:
            new = self._new(text)
            if new:
                return new, 1
            spans = [word.span() for word in _WORD.finditer(text)]
            out, at, count, word = list[str](), 0, 0, 0
            while word < len(spans):
                start = spans[word][0]
                for last in range(min(len(spans), word + self._videos.words) - 1, word - 1, -1):
                    new = self._new(text[start : spans[last][1]], prefixed=last == word)
                    if new:
                        out += [text[at:start], new]
                        at, count, word = spans[last][1], count + 1, last
                        break
                else:
                    if _is_video(text[slice(*spans[word])]):
                        return None
                word += 1
        except _LostError:
            return None
        return "".join([*out, text[at:]]), count

    def _new(self, name: str, *, prefixed: bool = True) -> str:
        return self._videos.new_name(name, self._folder, self._target, prefixed=prefixed)


def _table(text: str) -> list[_Part]:
    """The rows of a table with a column `path`, or with quotation marks; [] if the text is no such table."""
    named = delimiter_of(text, ("path",))
    if named is None and '"' not in text:
        return []
    for delimiter in (",", ";", "\t") if named is None else (named,):
        try:
            records = list(split_records(text, "", delimiter))
        except VidsslError:
            continue
        lengths = {len(record.fields) for record in records}
        if named is None and (len(lengths) > 1 or max(lengths, default=1) == 1):
            continue
        parts, at = [], 0
        for record in records:
            end = _matched(_LINE, text, record.fields[-1].end)
            fields = [(field.start - at, field.end - at, field.text, field.quoted) for field in record.fields]
            parts.append(_Part(text[at:end], fields, delimiter))
            at = end
        return [*parts, _Part(text[at:], [], delimiter)]
    return []


def _lines(text: str) -> list[_Part]:
    parts, at = [], 0
    while at < len(text):
        end = _matched(_LINE, text, at)
        raw = text[at:end]
        inside = raw.strip()
        start = raw.find(inside)
        parts.append(_Part(raw, [(start, start + len(inside), inside, False)], ""))
        at = end
    return parts


def _matched(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return len(text) if found is None else found.end()


def _is_video(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


class _LostError(Exception):
    """A name is that of a video without a new file."""


class _Videos:
    """Looks up the new name of a video by any name that a list may use for it.

    Attributes:
        words: Most words in the path of a video.
    """

    def __init__(self, root: Path, out: Path, names: Mapping[str, str | None]) -> None:
        self._out, self._names = out, names
        self.words = max((len(_WORD.findall(old)) for old in names), default=1)
        self._places = {resolve_folder(root / old): old for old in names}
        # the last part of a path, the last two parts, ... to the paths of all videos that end with them
        self._ends: dict[str, list[str]] = {}
        self._whole: dict[str, list[str]] = {}  # all parts of a path to the paths that have these and no others
        self._common: dict[tuple[str, bool], tuple[set[str], set[tuple[str, ...]]]] = {}  # see `_copies`
        for old in names:
            parts = PurePosixPath(old).parts
            self._whole.setdefault("/".join(parts), []).append(old)
            for count in range(1, len(parts) + 1):
                self._ends.setdefault("/".join(parts[-count:]), []).append(old)

    def new_name(self, name: str, folder: Path, target: Path, *, prefixed: bool) -> str:
        """The new name of a video, for a list that was in `folder` and will be in `target`; "" if it names no video.

        Args:
            name: The name in the list.
            folder: Folder of the list.
            target: Folder of its copy.
            prefixed: Accept a name that has folders before the path of the video.

        Raises:
            _LostError: The video has no new file.
        """
        key = name.removeprefix("./")
        parts = PurePosixPath(key).parts
        if not parts or parts[-1] not in self._ends or "\0" in key:
            return ""
        place = self._places.get(resolve_folder(folder / key))
        if place is not None:
            return os.path.relpath(self._out / self._copy(place), target)
        if key in self._names:
            return self._copy(key)
        for count in range(len(parts), 0 if prefixed else len(parts) - 1, -1):
            before = parts[:-count]
            if before and any(_is_video(word) for word in _WORD.findall("/".join(before))):
                return ""
            # with folders above the videos, but not with other folders among them
            found = self._copies(parts[-count:], whole=bool(before) and not leads_outside(key))
            if found is None:
                continue
            copies, ends = found
            if leads_outside(key):  # else it would lead to the old video
                return os.path.relpath(self._out / next(iter(copies)), target) if len(copies) == 1 else ""
            return "/".join((*before, *next(iter(ends)))) if len(ends) == 1 else ""
        return ""

    def _copies(self, end: tuple[str, ...], *, whole: bool) -> tuple[set[str], set[tuple[str, ...]]] | None:
        """New names of the videos whose path ends with these parts or, if `whole`, has no others; None if no path has.

        Returns:
            The names, and as many of their last parts. Many lines may ask for the same: all videos may be front.mp4.

        Raises:
            _LostError: None of them has a new file.
        """
        key = "/".join(end), whole
        same = (self._whole if whole else self._ends).get(key[0])
        if same is None:
            return None
        if key not in self._common:
            copies = {new for old in same if (new := self._names[old]) is not None}
            self._common[key] = copies, {PurePosixPath(new).parts[-len(end) :] for new in copies}
        if not self._common[key][0]:
            raise _LostError
        return self._common[key]

    def _copy(self, path: str) -> str:
        new = self._names[path]
        if new is None:
            raise _LostError
        return new
