"""EPIC-KITCHENS-100: 90,000 actions in 700 long videos of kitchens. A video of the data set is a segment of a file.

Source: Damen et al., "Rescaling Egocentric Vision", IJCV 2022, and the repository epic-kitchens-100-annotations:

* EPIC_100_train.csv, EPIC_100_validation.csv: narration_id, video_id, start_timestamp and stop_timestamp (HH:MM:SS.SS),
  verb_class and noun_class (numbers), among other columns;
* EPIC_100_test_timestamps.csv: the same without classes;
* EPIC_100_verb_classes.csv, EPIC_100_noun_classes.csv: the name (key) of each class (id).

Segments are taken by their times. The frame numbers in the lists (start_frame) count the pictures that the release's
scripts extract.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidssl.datasets.base import (
    Dataset,
    Entry,
    VideoFiles,
    annotations_in,
    duplicate_names,
    empty_files,
    shared_groups,
)
from vidssl.datasets.records import first_five, without_list
from vidssl.index.excerpts import Excerpt, parse_excerpt
from vidssl.index.lists import read_list_text, read_table
from vidssl.paths import many_of
from vidssl.types import VidsslError

Labels = Literal["action", "verb", "noun"]
SEGMENTS = {"train": 67_217, "validation": 9_668, "test": 13_092}  # of the release
COLUMNS = ("narration_id", "video_id", "start_timestamp", "stop_timestamp")
_LISTS = {part: f"EPIC_100_{part}{'_timestamps' * (part == 'test')}.csv" for part in SEGMENTS}
_NAMES = {"action": "epic_kitchens", "verb": "epic_kitchens_verbs", "noun": "epic_kitchens_nouns"}


def epic_kitchens(videos: Path, annotations: Path | None = None, *, labels: Labels = "action") -> Dataset:
    """Check EPIC-KITCHENS-100. A group is a file.

    Args:
        videos: Folder of the files (PXX_YY.MP4), searched recursively.
        annotations: Folder of the lists; None searches in and beside videos, and in their folders
            epic-kitchens-100-annotations and annotations.
        labels: What a label is: the verb and the noun ("take plate"), or one of them.

    Returns:
        The data set with those of the parts "train", "validation" and "test" that have a list. Test has no labels.

    Raises:
        VidsslError: videos is not a folder, there are no lists, or a list is corrupt.
    """
    where = annotations_in(videos, annotations, ("epic-kitchens-100-annotations", "annotations", "."), "EPIC_100_*.csv")
    kinds = ("verb", "noun") if labels == "action" else (labels,)
    names, notes = _classes(where, kinds)
    files = VideoFiles(videos)
    parts: dict[str, list[Entry]] = {}
    problems: list[str] = []
    for part, count in SEGMENTS.items():
        path = where / _LISTS[part]
        if not path.is_file():
            without_list(path, part, problems, notes)
            continue
        rows = _rows(path, () if part == "test" else tuple(names))
        entries, wrong = _entries(rows, {} if part == "test" else names, files)
        parts[part], twice = _one_action_each(entries)
        problems += first_five(path, wrong) + duplicate_names(entries, part)
        if twice:
            notes.append(f"{path.name}: {twice} actions are left out, as an action before them has the same times")
        if len(rows) != count:
            notes.append(f"{path.name} names {many_of(len(rows), 'segment')}; the release has {count}")
    both = shared_groups(parts.get("train", []), parts.get("validation", []))
    if both:
        problems.append(
            f"train and validation share {many_of(len(both), 'file')}, such as {both[0]}; take the release's lists"
        )
    problems += files.problems() + empty_files(parts)
    return Dataset(name=_NAMES[labels], parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _rows(path: Path, classes: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a list with the numbers of their lines."""
    where = f"annotations: {path}:"
    header, rows = read_table(read_list_text(path, where.removesuffix(":")), where, ",")
    lacking = [name for name in (*COLUMNS, *classes) if name not in header]
    if lacking:
        raise VidsslError(f"{where} lacks the columns {', '.join(lacking)}; take the release's file")
    return rows


def _classes(where: Path, kinds: tuple[str, ...]) -> tuple[dict[str, dict[str, str] | None], list[str]]:
    """For each column of classes (verb_class), the name of each number, or None; and notes about them."""
    names: dict[str, dict[str, str] | None] = {}
    notes = []
    for kind in kinds:
        path = where / f"EPIC_100_{kind}_classes.csv"
        names[f"{kind}_class"] = None
        if not path.is_file():
            notes.append(f"{path.name} is missing in {where}, so the labels are the numbers of the {kind}s")
            continue
        header, rows = read_table(read_list_text(path, f"annotations: {path}"), f"annotations: {path}:", ",")
        if not {"id", "key"} <= set(header):
            raise VidsslError(f"annotations: {path}: it has no columns id and key; take the release's file")
        names[f"{kind}_class"] = {row["id"]: row["key"] for _, row in rows}
    return names, notes


def _entries(
    rows: list[tuple[int, dict[str, str]]], names: dict[str, dict[str, str] | None], files: VideoFiles
) -> tuple[list[Entry], list[str]]:
    """The segments of a list, and the problems. A segment without valid times or classes is left out."""
    entries, wrong = [], []
    found: dict[str, Entry] = {}  # by the name of the file
    for line, row in rows:
        name, video = row["narration_id"], row["video_id"]
        numbers = {column: row[column] for column in names}
        unknown = [f"{column} {number!r}" for column, number in numbers.items() if not _is_class(number, names[column])]
        try:
            part = parse_excerpt(row["start_timestamp"], row["stop_timestamp"])
            if unknown or part is None or not video:
                raise ValueError("it has no times" if part is None else f"unknown {' and '.join(unknown) or 'video'}")
        except ValueError as error:
            wrong.append(f"line {line}: {name} is left out: {error}")
            continue
        if video not in found:
            found[video] = files.entry(video, f"{video}.mp4", None, video)
        label = " ".join((names[column] or {number: number})[number] for column, number in numbers.items())
        entries.append(found[video]._replace(name=name, label=label or None, excerpt=part))
    return entries, wrong


def _is_class(number: str, names: dict[str, str] | None) -> bool:
    return number.isdecimal() if names is None else number in names


def _one_action_each(entries: list[Entry]) -> tuple[list[Entry], int]:
    """The first entry of each segment, as a video has one label; and the number of the others."""
    first: dict[tuple[str | None, Excerpt | None], Entry] = {}
    for entry in entries:
        first.setdefault((entry.group, entry.excerpt), entry)
    return list(first.values()), len(entries) - len(first)
