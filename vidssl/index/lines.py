"""Reads lists without a table's columns: a path on each line, a path and a label, or a folder, its frames and a label.

Between a path and its label stand blanks, a tab, a comma or a semicolon. PySlowFast (slowfast/datasets/DATASET.md),
VideoMAE (DATASET.md) and mmaction2 (`VideoDataset`) write such pairs. `PATH 0 -1`, which VideoMAE V2 writes for
pretraining (docs/DATASET.md), is the whole video, without a label. A first line `path label` is skipped.
`FOLDER FRAMES LABEL` is a folder of frames and their number, as TSN and mmaction2 (`RawframeDataset`) write it. With
three numbers, a line could mean several things, and is refused.

A path or label may stand in quotation marks; a mark inside them is written twice. After a blank, a label with blanks
needs them, because `PATH 1 3` could also be two labels. A path without them may hold blanks and delimiters, because it
ends with the ending of a video file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from vidssl.index.excerpts import Excerpt
from vidssl.index.kinds import EXTENSIONS
from vidssl.types import VidsslError

LAYOUTS = (
    "write it as one of these: a first line path[,label[,group]][,start,end] and rows below it; a path on each line; "
    "PATH LABEL on each line, where PATH ends like a video file; or FOLDER FRAMES LABEL on each line, where FOLDER "
    "holds that many numbered pictures. `vidssl datasets check --help` names the data sets whose own lists are read"
)
BREAK = re.compile(r"\r\n|\n|\r")
_SHOWN = 10  # refused lines that one error names
_WIDTH = 100  # characters of a line that an error shows
_MARKED = r'"(?P<{}>[^"]*(?:""[^"]*)*)"'
_GAP = r"(?:[ ]+|[ ]*[\t,;][ \t]*)"
_LINE = re.compile(
    rf"(?:{_MARKED.format('path')}|(?P<plain>(?!\").*\.(?:{'|'.join(sorted(kind[1:] for kind in EXTENSIONS))})))"
    rf"(?P<tail>{_GAP}0{_GAP}-1|{_GAP}{_MARKED.format('label')}"
    r'|[ ]+(?P<word>[^\s"]+)|[ ]*[\t,;][ \t]*(?P<words>[^\t,;"]+))?',
    re.IGNORECASE,
)
_FRAMES = re.compile(
    rf"(?:{_MARKED.format('path')}|(?P<plain>[^\s,;\"]+)){_GAP}(?P<frames>[0-9]{{1,8}}){_GAP}"
    rf'(?:{_MARKED.format("label")}|(?P<word>[^\s,;"]+))'
)


# What mmaction2 writes for clips of long videos (`RawframeDataset`, with_offset) looks as what it writes for folders
# with two classes (multi_class).
_THREE = re.compile(rf'(?P<path>"(?:[^"]|"")+"|[^\s,;"]+)(?:{_GAP}[0-9]+){{3}}')
_TWO_MEANINGS = (
    "the three numbers may be the first frame, the number of frames and the label of a part (mmaction2, with_offset), "
    "the number of frames and two labels (multi_class), or start, end and label; name the columns in a first line "
    "path,label,start_frame,end_frame (frames count from 0, and end_frame is behind the last), and put one label in "
    "each row"
)


class ListEntry(NamedTuple):
    """One video of a list.

    Attributes:
        line: Number of the line where it begins, from 1.
        path: The path as written.
        label: Name of the class, or None.
        group: Name of the group, or None.
        frames: Number of frames that the list says, of a folder of frames; else None.
        excerpt: The part of the file, or None for all of it.
    """

    line: int
    path: str
    label: str | None
    group: str | None
    frames: int | None = None
    excerpt: Excerpt | None = None


def split_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered from 1, without blanks at their ends.

    Only line feeds and carriage returns end a line: names may hold Unicode's other line separators.
    """
    for number, line in enumerate(BREAK.split(text), start=1):
        if stripped := line.strip():
            yield number, stripped


def refuse(where: str, lines: Sequence[tuple[int, str]]) -> None:
    """Raise VidsslError if there are refused lines, given by their numbers and what is wrong.

    The error names the first lines, and counts the others.
    """
    if lines:
        more = f"; and {len(lines) - _SHOWN} more lines" if len(lines) > _SHOWN else ""
        raise VidsslError(f"{where} {'; '.join(f'line {line}: {why}' for line, why in lines[:_SHOWN])}{more}")


def clean_label(text: str | None) -> str | None:
    """The name of a class or group: without blanks at its ends, and None for a blank one."""
    return (text or "").strip() or None


def read_pairs(text: str, where: str, *, bare: bool) -> tuple[list[ListEntry], bool]:
    """The videos of a list of paths or of pairs, and whether they have labels.

    Args:
        text: The list.
        where: Beginning of error messages.
        bare: Accept paths that do not end like a video file, if they hold no blank or delimiter, or stand in quotation
            marks.

    Raises:
        VidsslError: The first line has another layout, or lines are refused.
    """
    lines = list(split_lines(text))
    if lines and [name.strip('"').lower() for name in lines[0][1].split()] == ["path", "label"]:
        del lines[0]
    found: list[ListEntry] = []
    refused: list[tuple[int, str]] = []
    for number, line in lines:
        pair = _pair(line, bare)
        if pair is None:
            fix = "; put a whole text into quotation marks, and write a mark inside it twice" if '"' in line else ""
            if _THREE.fullmatch(line):
                raise VidsslError(f"{where} line {number} is {shown(line)}: {_TWO_MEANINGS}")
            if not found and not refused:
                raise VidsslError(f"{where} its first line is {shown(line)}; {LAYOUTS}{fix}")
            refused.append((number, f"{shown(line)} is neither a path of a video nor such a path and one label{fix}"))
            continue
        path, label, frames = pair
        if found and (label is None) != (found[0].label is None):
            few, many = ("no label", "one") if label is None else ("a label", "none")
            refused.append((number, f"{shown(line)} has {few}, but line {found[0].line} has {many}"))
        else:
            found.append(ListEntry(number, path, label, None, frames))
    refuse(where, refused)
    return found, bool(found) and found[0].label is not None


def _pair(line: str, bare: bool) -> tuple[str, str | None, int | None] | None:
    """The path, label and number of frames of a line, without quotation marks; None if it has another layout."""
    if _is_video(line) and not line.startswith('"'):
        return line, None, None
    match = _LINE.fullmatch(line)
    if match is None:
        counted = _FRAMES.fullmatch(line)
        if counted is not None and not _is_video(counted["plain"] or counted["path"]):
            path, label = (
                counted[plain] or _unmarked(counted[marked]) for plain, marked in (("plain", "path"), ("word", "label"))
            )
            return path, clean_label(label), int(counted["frames"])
        return (line, None, None) if bare and not re.search(r'[\s,;]|^"', line) else None
    path = match["plain"] or _unmarked(match["path"])
    if not (match["plain"] or _is_video(path.strip()) or (bare and path and not match["tail"])):
        return None
    if match["label"] is not None:
        return path, clean_label(_unmarked(match["label"])), None
    return path, clean_label(match["word"] or match["words"]), None


def _unmarked(text: str) -> str:
    """A text from between quotation marks."""
    return text.replace('""', '"')


def _is_video(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in EXTENSIONS


def shown(text: str) -> str:
    """The first line of a text as read, cut to a readable length."""
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    return repr(first if len(first) <= _WIDTH else f"{first[:_WIDTH]}...")
