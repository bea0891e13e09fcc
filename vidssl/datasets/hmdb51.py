"""HMDB51: 51 classes, three splits of 70 training and 30 test videos a class; the others are in neither.

Source: Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition", ICCV 2011, and the release's
testTrainMulti_7030_splits: CLASS_test_splitN.txt with a video and 0 (in neither part), 1 (training) or 2 (test) a line.
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
    read_lines,
    shared_groups,
)
from vidssl.types import VidsslError

CLASSES, TRAIN, TEST = 51, 70, 30
_PARTS = {"1": "train", "2": "test"}


def hmdb51(videos: Path, annotations: Path | None = None) -> Dataset:
    """The three splits, as far as their lists are there. A group is the film that a clip is cut from, by the beginning
    of its name.

    videos: folder of the videos, with or without a folder a class. annotations: folder of the *_test_splitN.txt; None
    looks for testTrainMulti_7030_splits in and beside videos.
    """
    where = annotations_in(videos, annotations, "testTrainMulti_7030_splits", "*_test_split[123].txt")
    files = VideoFiles(videos)
    parts: dict[str, list[Entry]] = {}
    problems, notes, unused = [], [], 0
    for number in (1, 2, 3):
        lists = sorted(where.glob(f"*_test_split{number}.txt"))
        if len(lists) != CLASSES:
            problems.append(f"{len(lists)} lists *_test_split{number}.txt in {where}, the release has {CLASSES}")
        for path in lists:
            label = path.name.removesuffix(f"_test_split{number}.txt")
            counts = {"train": 0, "test": 0}
            for line in read_lines(path):
                name, _, code = line.rpartition(" ")
                if code not in ("0", "1", "2") or not name:
                    raise VidsslError(f"annotations: {path}: {line!r} is not a video and 0, 1 or 2")
                found = files.get(name.strip(), label)
                unused += code == "0" and number == 1
                if code in _PARTS:
                    counts[_PARTS[code]] += 1
                    entry = Entry(
                        name=f"{label}/{name.strip()}", path=found, label=label, group=_film(name.strip(), label)
                    )
                    parts.setdefault(f"{_PARTS[code]}_{number}", []).append(entry)
            if counts != {"train": TRAIN, "test": TEST}:
                notes.append(
                    f"{path.name} has {counts['train']} training and {counts['test']} test videos; "
                    f"the release has {TRAIN} and {TEST}"
                )
        train, test = parts.get(f"train_{number}", []), parts.get(f"test_{number}", [])
        both = shared_groups(train, test)
        if both:
            notes.append(
                f"train_{number} and test_{number} share {len(both)} films of the same name, "
                f"such as {both[0]}, as released"
            )
    for part, entries in parts.items():
        problems += duplicate_names(entries, part)
    if unused:
        notes.append(f"split 1 leaves {unused} videos out, as released")
    problems += files.duplicates() + empty_files(parts)
    return Dataset(name="hmdb51", parts=parts, extra=files.unused(), problems=problems, notes=notes)


def _film(name: str, label: str) -> str:
    """What stands before the class in a name; the name itself where it is not there."""
    return re.split(rf"_{re.escape(label)}_", Path(name).stem, maxsplit=1, flags=re.IGNORECASE)[0]
