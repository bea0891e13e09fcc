"""Diving48: 48 dives, told apart by take-off, somersaults, twists and position. Clips of a few competition videos.

Source: Li, Li, Vasconcelos, "RESOUND: Towards Action Recognition without Representation Bias", ECCV 2018, and
http://www.svcl.ucsd.edu/projects/resound/dataset.html; tools/data/diving48/README.md of mmaction2 shows the files:

* Diving48_V2_train.json, Diving48_V2_test.json (labels corrected in 2020) and Diving48_train.json, Diving48_test.json
  (the first version): [{"vid_name": "-mmq0PT-u8k_00155", "label": 0, "start_frame": 0, "end_frame": 48}, ...];
* Diving48_vocab.json: [["Back", "15som", "05Twis", "FREE"], ...], the dive of each label, from 0.
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
from vidssl.datasets.records import brief, first_five, read_json, read_records
from vidssl.types import VidsslError

CLASSES = 48
VIDEOS = {"Diving48_V2_train.json": 15_027, "Diving48_V2_test.json": 1_970}  # of the release
_PARTS = {
    "train_2": "Diving48_V2_train.json",
    "test_2": "Diving48_V2_test.json",
    "train_1": "Diving48_train.json",
    "test_1": "Diving48_test.json",
}
_CLIP = re.compile(r"(.+)_\d+")


def diving48(videos: Path, annotations: Path | None = None) -> Dataset:
    """Check Diving48. A label is a dive, such as "Back 15som 05Twis FREE". A group is the video of which clips are cut.

    Each file is a clip: `start_frame` is 0, and `end_frame` the number of its frames.

    Args:
        videos: Folder of the videos (rgb of the release).
        annotations: Folder of the lists Diving48_*.json; None searches in and beside videos, and in their folders
            annotations.

    Returns:
        The data set with the parts "train_2" and "test_2" of version 2, and "train_1" and "test_1" of version 1, as far
        as their lists exist.

    Raises:
        VidsslError: videos is not a folder, there are no lists, or a list is corrupt.
    """
    where = annotations_in(videos, annotations, ("annotations", "."), "Diving48_*.json")
    files, notes = VideoFiles(videos, exact=True), []
    dives = _dives(where / "Diving48_vocab.json")
    if dives is None:
        notes.append(f"Diving48_vocab.json is missing in {where}, so the labels are the numbers of the dives")
    elif len(dives) != CLASSES:
        notes.append(f"Diving48_vocab.json names {len(dives)} dives; the release has {CLASSES}")
    parts: dict[str, list[Entry]] = {}
    problems: list[str] = []
    for version in (2, 1):
        train, test = f"train_{version}", f"test_{version}"
        there = [part for part in (train, test) if (where / _PARTS[part]).is_file()]
        for part in (train, test):
            path = where / _PARTS[part]
            if part in there:
                parts[part], wrong = _entries(path, dives, files)
                problems += first_five(path, wrong) + duplicate_names(parts[part], part)
                if len(parts[part]) != VIDEOS.get(path.name, len(parts[part])):
                    notes.append(f"{path.name} names {len(parts[part])} videos; the release has {VIDEOS[path.name]}")
            elif there:
                problems.append(f"{path.name} is missing in {where}")
        both = shared_groups(parts.get(train, []), parts.get(test, []))
        if both:
            notes.append(f"{train} and {test} share {len(both)} videos that clips are cut from, such as {both[0]}")
    if not parts:
        problems.append(f"no list of clips in {where}; the release has {' and '.join(VIDEOS)}")
    problems += files.problems() + empty_files(parts)
    return Dataset(name="diving48", parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _dives(path: Path) -> list[str] | None:
    """The name of each label; None if there is no vocabulary."""
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, list) or not all(
        isinstance(one, list) and one and all(isinstance(part, str) for part in one) for one in found
    ):
        raise VidsslError(f"annotations: {path}: not a list of dives, each a list of texts; take the release's file")
    names = [" ".join(one) for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VidsslError(f"annotations: {path}: names the dive {twice!r} twice; take the release's file")
    return names


def _entries(path: Path, dives: list[str] | None, files: VideoFiles) -> tuple[list[Entry], list[str]]:
    """Read the clips of a list, and list the problems."""
    entries, wrong = [], []
    for at, one in enumerate(read_records(path, "vid_name"), start=1):
        name, number = one["vid_name"], one.get("label")
        if not isinstance(name, str) or not name.strip() or "/" in name or "\0" in name:
            raise VidsslError(
                f"annotations: {path}: entry {at}: the vid_name {brief(name)} is not a name; take the release's file"
            )
        label = None
        if type(number) is not int or not 0 <= number < (CLASSES if dives is None else len(dives)):
            wrong.append(f"entry {at}: {name} has the label {brief(number)}, which is no dive")
        else:
            label = str(number) if dives is None else dives[number]
        start, end = one.get("start_frame", 0), one.get("end_frame", 1)
        if type(start) is not int or type(end) is not int or not 0 <= start < end:
            wrong.append(f"entry {at}: {name} has the frames {brief([start, end])}, which are no start and end")
        elif start:
            wrong.append(
                f"entry {at}: {name} begins at frame {start}, but files are read from their first frame; "
                "cut the clip out, and give it start_frame 0"
            )
        clip = _CLIP.fullmatch(name)
        entries.append(files.entry(name, f"{name}.mp4", label, clip[1] if clip else None))
    return entries, wrong
