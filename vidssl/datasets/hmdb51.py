"""HMDB51: 51 classes, three splits of 70 train and 30 test videos for each class. Each split leaves some videos out.

Source: Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition", ICCV 2011, and the release's
testTrainMulti_7030_splits. Each line of CLASS_test_splitN.txt has a video and 0 (left out), 1 (train) or 2 (test).
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

CLASSES, TRAIN, TEST = 51, 70, 30
_PARTS = {"1": "train", "2": "test"}


def hmdb51(videos: Path, annotations: Path | None = None) -> Dataset:
    """Check HMDB51. A group is the film from which a clip is cut, which the beginning of the clip's name gives.

    Args:
        videos: Folder of the videos, with or without one folder for each class.
        annotations: Folder of the lists *_test_splitN.txt; None searches for testTrainMulti_7030_splits in and beside
            videos.

    Returns:
        The data set with the parts "train_1", "test_1" .. "test_3" that the existing lists define.

    Raises:
        VidsslError: videos is not a folder, there are no lists, or a list is corrupt.
    """
    where = annotations_in(videos, annotations, ("testTrainMulti_7030_splits",), "*_test_split[123].txt")
    files = VideoFiles(videos)
    parts: dict[str, list[Entry]] = {}
    problems, notes, unused = [], [], 0
    for number in (1, 2, 3):
        lists = sorted(where.glob(f"*_test_split{number}.txt"))
        if len(lists) != CLASSES:
            problems.append(f"{len(lists)} lists *_test_split{number}.txt in {where}; the release has {CLASSES}")
        for path in lists:
            label = path.name.removesuffix(f"_test_split{number}.txt")
            counts = {"train": 0, "test": 0}
            for at, line in read_lines(path):
                name, _, code = (part.strip() for part in line.replace("\t", " ").rpartition(" "))
                if code not in ("0", "1", "2") or not name:
                    raise VidsslError(
                        f"annotations: {path}: line {at}: {line!r} is not a video and 0, 1 or 2; "
                        "take the release's file"
                    )
                entry = files.entry(f"{label}/{name}", name, label, _film(name, label))
                unused += code == "0" and number == 1
                if code in _PARTS:
                    counts[_PARTS[code]] += 1
                    parts.setdefault(f"{_PARTS[code]}_{number}", []).append(entry)
            if counts != {"train": TRAIN, "test": TEST}:
                notes.append(
                    f"{path.name} has {counts['train']} train and {counts['test']} test videos; "
                    f"the release has {TRAIN} and {TEST}"
                )
        train, test = parts.get(f"train_{number}", []), parts.get(f"test_{number}", [])
        both = shared_groups(train, test)
        if both:
            notes.append(
                f"train_{number} and test_{number} share {len(both)} film names, such as {both[0]}; "
                "the released lists do too"
            )
    for part, entries in parts.items():
        problems += duplicate_names(entries, part)
    if unused:
        notes.append(f"split 1 leaves {unused} videos out, as its lists say")
    problems += files.problems() + empty_files(parts)
    return Dataset(name="hmdb51", parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _film(name: str, label: str) -> str:
    """Return the part of a name before the class, or the whole name if it does not contain the class."""
    return re.split(rf"_{re.escape(label)}_", Path(name).stem, maxsplit=1, flags=re.IGNORECASE)[0]
