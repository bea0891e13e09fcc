"""UCF101: 101 classes, three splits, and groups g01 to g25. Train and test must not share a group.

Source: Soomro, Zamir, Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012, and the
release's ucfTrainTestlist: classInd.txt ("1 ApplyEyeMakeup", numbers from 1), trainlist0N.txt
("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1") and testlist0N.txt (the same without the number).
"""

from __future__ import annotations

import re
from pathlib import Path

from vidssl.datasets.base import (
    Dataset,
    Entry,
    VideoFiles,
    annotations_in,
    duplicate_names,
    empty_files,
    shared_groups,
)
from vidssl.index.lists import read_lines
from vidssl.types import VidsslError

VIDEOS, CLASSES = 13_320, 101  # of the release
_GROUP = re.compile(r"_g(\d+)_c\d+$", re.IGNORECASE)


def ucf101(videos: Path, annotations: Path | None = None) -> Dataset:
    """Check UCF101. Labels are the names of the classes; the lists' numbers, which begin with 1, are only checked.

    Names of files and folders are compared without regard to case, because the class HandstandPushups has files
    v_HandStandPushups_*.

    Args:
        videos: Folder of the videos, with or without one folder for each class.
        annotations: The folder ucfTrainTestlist; None searches for it in and beside videos.

    Returns:
        The data set with the parts "train_1", "test_1" .. "test_3" that the existing lists define.

    Raises:
        VidsslError: videos is not a folder, there are no lists, or classInd.txt is corrupt.
    """
    where = annotations_in(videos, annotations, ("ucfTrainTestlist",), "trainlist0*.txt")
    classes, problems = _classes(where / "classInd.txt")
    files, notes = VideoFiles(videos), []
    parts: dict[str, list[Entry]] = {}
    for number in (1, 2, 3):
        for kind in ("train", "test"):
            path = where / f"{kind}list{number:02d}.txt"
            if not path.is_file():
                problems.append(f"{path.name} is missing in {where}")
                continue
            part = f"{kind}_{number}"
            parts[part], wrong = _entries(path, classes, files)
            problems += wrong + duplicate_names(parts[part], part)
        train, test = parts.get(f"train_{number}", []), parts.get(f"test_{number}", [])
        both = shared_groups(train, test)
        if both:
            problems.append(
                f"train_{number} and test_{number} share {len(both)} groups, such as {both[0]}: "
                "both contain near duplicates"
            )
        if train and test and len(train) + len(test) != VIDEOS:
            notes.append(f"split {number} names {len(train) + len(test)} videos; the release has {VIDEOS}")
    if len(set(classes.values())) != CLASSES:
        notes.append(f"classInd.txt names {len(set(classes.values()))} classes; the release has {CLASSES}")
    problems += files.problems() + empty_files(parts)
    return Dataset(name="ucf101", parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _classes(path: Path) -> tuple[dict[int, str], list[str]]:
    """Read the names of the classes by number, and list the problems."""
    classes = {}
    for at, line in read_lines(path):
        number, _, name = line.replace("\t", " ").partition(" ")
        if not number.isdecimal() or not name.strip():
            raise VidsslError(
                f"annotations: {path}: line {at}: {line!r} is not a number and a class; "
                "write lines like '1 ApplyEyeMakeup'"
            )
        classes[int(number)] = name.strip()
    if not classes:
        raise VidsslError(f"annotations: {path} names no class; take the release's file")
    first = min(classes)
    if first == 1:
        return classes, []
    return classes, [
        f"classInd.txt begins with {first} and the release's with 1; labels come from names, not from numbers"
    ]


def _entries(path: Path, classes: dict[int, str], files: VideoFiles) -> tuple[list[Entry], list[str]]:
    """Read the videos of a list, and list the problems."""
    names = {name.lower(): name for name in classes.values()}
    numbers = {name.lower(): number for number, name in classes.items()}
    entries, wrong = [], []
    for at, line in read_lines(path):
        numbered = re.fullmatch(r"(.*\S)\s+(\d+)", line)
        name, number = (numbered[1], numbered[2]) if numbered else (line, "")
        name = name.replace("\\", "/")
        folder = name.split("/")[0].lower()
        if "/" not in name or folder not in names:
            wrong.append(f"{path.name}: line {at}: {line!r} names no class of classInd.txt")
            continue
        if number and int(number) != numbers[folder]:
            wrong.append(f"{path.name}: line {at}: {name} has the number {number}, but its class has {numbers[folder]}")
        found = _GROUP.search(Path(name).stem)
        group = f"{names[folder]}_g{found[1]}" if found else None
        entries.append(files.entry(name, name, names[folder], group))
    if len(wrong) > 5:
        wrong = [*wrong[:5], f"{path.name}: and {len(wrong) - 5} more such lines"]
    return entries, wrong
