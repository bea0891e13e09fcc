"""Reads and writes lists of videos. Every list that vidssl reads or writes goes through this module.

A list has one of three layouts, whatever its name ends in:

* a table: the first line names the columns `path`, and optionally `label` and `group`, in any order and among others;
  they are separated by commas, semicolons or tabs; with `start` and `end`, in seconds or as [H:]MM:SS, or with
  `start_frame` and `end_frame`, from 0, a row is a segment of its video (vidssl.index.excerpts), or the whole video
  where both are empty;
* paths, or pairs of a path and a label, one on each line: vidssl.index.lines reads them.

Blanks around a path, label or group do not count, except for a path in quotation marks. Blank lines are skipped. In a
table, a text with delimiters, quotation marks, line breaks or blanks at its ends stands in quotation marks, and a mark
inside it is written twice. A line break in quotation marks is accepted only if all texts of its row are in quotation
marks, so that a forgotten mark never joins rows. Other layouts are refused, with the number of each line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from vidssl.files import read_bytes
from vidssl.index.excerpts import Excerpt, parse_excerpt
from vidssl.index.lines import BREAK, ListEntry, clean_label, read_pairs, refuse, shown, split_lines
from vidssl.paths import atomic_write, printable
from vidssl.types import VidsslError

LISTS = (".csv", ".txt", ".tsv")
COLUMNS = ("path", "label", "group")
INTERVALS: dict[Literal["t", "frames"], tuple[str, str]] = {
    "t": ("start", "end"),
    "frames": ("start_frame", "end_frame"),
}
_DELIMITERS = ",;\t"


@dataclass(frozen=True, kw_only=True)
class VideoList:
    """The content of a list.

    Attributes:
        entries: The videos in the list's order.
        labelled: True if the list has labels, which may be empty.
    """

    entries: list[ListEntry]
    labelled: bool


class Field(NamedTuple):
    """One text of a table's row.

    Attributes:
        text: The text, without quotation marks. Blanks at its ends are part of it only in quotation marks.
        start: Where it begins in the table's text, with its quotation mark.
        end: Where it ends.
        quoted: True if it stands in quotation marks.
    """

    text: str
    start: int
    end: int
    quoted: bool


class Record(NamedTuple):
    """One row of a table: its first line, from 1, and its fields."""

    line: int
    fields: list[Field]


def is_list(path: Path) -> bool:
    """Return True if a path is named like a list, in upper or lower case."""
    return path.suffix.lower() in LISTS


def read_list(path: Path, argument: str) -> VideoList:
    """Read a list of videos.

    Args:
        path: The list.
        argument: The argument that names the list, for error messages: "list='l.csv'", for instance.

    Raises:
        VidsslError: The file cannot be read as text, or a line is refused.
    """
    text = read_list_text(path, argument)
    where = f"{argument}:"
    delimiter = delimiter_of(text, ("path",))
    if delimiter is not None:
        header, rows = read_table(text, where, delimiter)
        refuse(where, [(line, "it has no path") for line, row in rows if not row["path"]])
        excerpts = _excerpts(header, rows, where)
        found = [
            ListEntry(
                line, row["path"], clean_label(row.get("label", "")), clean_label(row.get("group", "")), excerpt=excerpt
            )
            for (line, row), excerpt in zip(rows, excerpts, strict=True)
        ]
        labelled = "label" in header
    else:
        found, labelled = read_pairs(text, where, bare=path.suffix.lower() == ".txt")
    refuse(where, [(one.line, "its path holds a NUL character") for one in found if "\0" in one.path])
    return VideoList(entries=found, labelled=labelled)


def _excerpts(header: list[str], rows: list[tuple[int, dict[str, str]]], where: str) -> list[Excerpt | None]:
    """The segment of each row.

    Raises:
        VidsslError: A column is missing, both kinds of columns are there, or lines have a segment that is refused.
    """
    for start, end in INTERVALS.values():
        if (start in header) != (end in header):
            there, lacks = (start, end) if start in header else (end, start)
            raise VidsslError(f"{where} its first line has {there!r} and no {lacks!r}; add it, or rename {there!r}")
    units = [unit for unit, names in INTERVALS.items() if set(names) <= set(header)]
    if len(units) == 2:
        raise VidsslError(f"{where} its first line has segments in seconds and in frames; keep one of the two")
    if not units:
        return [None] * len(rows)
    start, end = INTERVALS[units[0]]
    found: list[Excerpt | None] = []
    refused = []
    for line, row in rows:
        try:
            column = start
            parse_excerpt(row[start], "", units[0])
            column = end
            found.append(parse_excerpt(row[start], row[end], units[0]))
        except ValueError as error:
            refused.append((line, f"column {column!r}: {error}; correct it, or leave both empty for the whole video"))
    refuse(where, refused)
    return found


def write_list(path: Path, rows: Iterable[Sequence[str | None]], columns: Sequence[str] = COLUMNS) -> None:
    """Write a table that `read_list` reads back, whatever characters its names have. None is written as "".

    Raises:
        VidsslError: A text is not valid Unicode, as the name of a file may be.
        OSError: The file cannot be written.
    """
    with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        for row in (columns, *rows):
            line = join_fields([text or "" for text in row])
            try:
                file.write(f"{line}\r\n")
            except UnicodeEncodeError as error:
                raise VidsslError(
                    f"list={str(path)!r}: {printable(line)} is not UTF-8, so a list cannot name it; rename it"
                ) from error


def join_fields(fields: Sequence[str], delimiter: str = ",") -> str:
    """One row of a table, without its line end."""
    every = any(mark in text for text in fields for mark in "\r\n")
    return delimiter.join(quote(text, delimiter, always=every) for text in fields)


def quote(text: str, delimiter: str = ",", *, always: bool = False) -> str:
    """A text for a row of a table: in quotation marks if it needs them, or always."""
    if always or text != text.strip() or any(mark in text for mark in f'{delimiter}"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def read_list_text(path: Path, argument: str) -> str:
    """The text of a list, with its line ends as they are.

    Raises:
        VidsslError: The file cannot be read, is not a regular file, or is not UTF-8.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise VidsslError(f"{argument}: cannot be read as text ({error}); name a file that can be read") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise VidsslError(f"{argument}: cannot be read as text: it is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise VidsslError(f"{argument}: cannot be read as text: line {line} is not UTF-8; save it as UTF-8") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of one of a data set's own lists, as `split_lines` gives them.

    Raises:
        VidsslError: As `read_list_text`.
    """
    return list(split_lines(read_list_text(path, f"annotations: {path}")))


def delimiter_of(text: str, wanted: Collection[str]) -> str | None:
    """The delimiter of a table whose first line has the wanted columns; None if the text is no such table."""
    _, first = next(split_lines(text), (0, ""))
    for delimiter in _DELIMITERS:
        if set(wanted) <= {name.strip().strip('"').strip().lower() for name in first.split(delimiter)}:
            return delimiter
    return None


def read_table(text: str, where: str, delimiter: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a table whose first line names the columns.

    Args:
        text: The table.
        where: Beginning of error messages.
        delimiter: The delimiter.

    Returns:
        The names of the columns in lower case, and each row with the number of its line. Rows without any text are left
        out.

    Raises:
        VidsslError: Quotation marks are unbalanced, a column is named twice, or a row has too few or too many fields.
    """
    records = _texts(text, where, delimiter)
    header = [field.strip().lower() for field in next(records, (1, []))[1]]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise VidsslError(f"{where} its first line names the column {twice!r} twice; keep one")
    rows, refused = [], []
    for line, fields in records:
        if len(fields) == len(header):
            rows.append((line, dict(zip(header, fields, strict=True))))
        else:
            refused.append(
                (
                    line,
                    f"it has {len(fields)} fields, but the first line has {len(header)}; "
                    f"put a name with {delimiter!r} into quotation marks",
                )
            )
    refuse(where, refused)
    return header, rows


def _texts(text: str, where: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table as texts, each with the number of its first line. See `split_records`, which knows more."""
    if '"' in text:
        for line, fields in split_records(text, where, delimiter):
            yield line, [field.text for field in fields]
        return
    for number, row in enumerate(BREAK.split(text), start=1):  # of a million rows, this takes a fifth of the time
        texts = [one.strip() for one in row.split(delimiter)]
        if any(texts):
            yield number, texts


def split_records(text: str, where: str, delimiter: str) -> Iterator[Record]:
    """Split a table into rows and fields. Rows without any text are left out.

    Raises:
        VidsslError: Quotation marks are unbalanced.
    """
    blank = " " if delimiter == "\t" else r"[ \t]"
    pattern = re.compile(
        rf'{blank}*(?:(?P<quoted>"[^"]*(?:""[^"]*)*"){blank}*|(?P<plain>[^"{delimiter}\r\n]*))'
        rf"(?P<end>{delimiter}|\r\n|\n|\r|\Z)"
    )
    at, line, fields = 0, 1, list[Field]()
    while True:
        found = pattern.match(text, at)
        if found is None:
            raise VidsslError(f"{where} {_marks(text, at, delimiter)}")
        if found["quoted"] is not None:
            fields.append(Field(found["quoted"][1:-1].replace('""', '"'), *found.span("quoted"), True))
        else:
            plain = found["plain"].lstrip()
            start = found.end("plain") - len(plain)
            plain = plain.rstrip()
            fields.append(Field(plain, start, start + len(plain), False))
        at = found.end()
        if found["end"] == delimiter:
            continue
        inside = sum(len(BREAK.findall(field.text)) for field in fields if field.quoted)
        if inside and not all(field.quoted for field in fields):
            raise VidsslError(
                f"{where} line {line}: {shown(text[fields[0].start :])}: a text in quotation marks goes on over "
                f"{inside + 1} lines; close its quotation mark or, if a name does hold a line break, put all texts of "
                "its row into quotation marks"
            )
        if any(field.text or field.quoted for field in fields):
            yield Record(line, fields)
        line, fields = line + inside + 1, []
        if at == len(text):
            return


def _marks(text: str, at: int, delimiter: str) -> str:
    """What is wrong with the quotation marks of the field that begins at `at`."""
    start = next((place for place in range(at, len(text)) if text[place] not in " \t"), at)
    before = [found.end() for found in BREAK.finditer(text, 0, start)]
    fix = f"put the whole text between two {delimiter!r} into quotation marks, and write a mark inside it twice"
    if text[start] != '"':
        what = "a quotation mark inside a text that does not begin with one"
    elif re.compile(r'"[^"]*(?:""[^"]*)*"').match(text, start):
        what = "text after a closing quotation mark"
    else:
        what, fix = "a quotation mark that is never closed", f"close or remove it; or {fix}"
    return f"line {len(before) + 1}: {shown(text[before[-1] if before else 0 :])}: {what}; {fix}"
