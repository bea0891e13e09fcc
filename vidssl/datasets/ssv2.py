"""Something-Something V2: 174 templates, such as "Holding something next to something", and videos ID.webm.

Source: Goyal et al., "The 'something something' video database for learning and evaluating visual common sense", ICCV
2017, and the release's folder labels, which tools/data/sthv2/README.md and parse_file_list.py of mmaction2 and
slowfast/datasets/DATASET.md of PySlowFast describe:

* labels.json: {"Approaching something with your camera": "0", ...}, a number for each template;
* train.json, validation.json: [{"id": "78687", "label": "holding potato next to vicks vaporub bottle", "template":
  "Holding [something] next to [something]", "placeholders": ["potato", "vicks vaporub bottle"]}, ...];
* test.json: [{"id": "1420"}, ...], and test-answers.csv: "1420;Throwing something", without a first line of names.

The names of older releases begin with something-something-v2-.
"""

from __future__ import annotations

import re
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry, VideoFiles, annotations_in, duplicate_names, empty_files
from vidssl.datasets.records import brief, first_five, read_json, read_records, without_list
from vidssl.index.classes import sort_classes
from vidssl.index.lines import shown
from vidssl.index.lists import read_lines
from vidssl.paths import many_of
from vidssl.types import VidsslError

VIDEOS = {"train": 168_913, "validation": 24_777, "test": 27_157}  # of the release
CLASSES = 174


def ssv2(videos: Path, annotations: Path | None = None) -> Dataset:
    """Check Something-Something V2. A label is a template without brackets, as labels.json has it. There are no groups.

    Args:
        videos: Folder of the videos.
        annotations: Folder of the lists; None searches in and beside videos, and in their folders labels and
            annotations.

    Returns:
        The data set with those of the parts "train", "validation" and "test" that have a list.

    Raises:
        VidsslError: videos is not a folder, there is no labels.json or more than one, or a list is corrupt.
    """
    where = annotations_in(videos, annotations, ("labels", "annotations", "."), "*labels.json")
    numbered = sorted(where.glob("*labels.json"))
    if len(numbered) > 1:
        raise VidsslError(
            f"annotations={str(where)!r}: it has {' and '.join(path.name for path in numbered)}; "
            "keep the lists of one release"
        )
    prefix = numbered[0].name.removesuffix("labels.json")
    templates, notes = _templates(numbered[0])
    answers = where / f"{prefix}test-answers.csv"
    files = VideoFiles(videos)
    parts: dict[str, list[Entry]] = {}
    problems: list[str] = []
    for part, count in VIDEOS.items():
        path = where / f"{prefix}{part}.json"
        if not path.is_file():
            without_list(path, part, problems, notes)
            continue
        given = _answers(answers) if part == "test" and answers.is_file() else None
        parts[part], wrong = _entries(path, templates, given, files, labelled=part != "test" or given is not None)
        problems += first_five(path, wrong) + duplicate_names(parts[part], part)
        if part == "test" and given is None:
            notes.append(f"the test set has no labels, because {answers.name} is missing in {where}")
        if len(parts[part]) != count:
            notes.append(f"{path.name} names {many_of(len(parts[part]), 'video')}; the release has {count}")
    problems += _shared(parts) + files.problems() + empty_files(parts)
    return Dataset(name="ssv2", parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _templates(path: Path) -> tuple[set[str], list[str]]:
    """The templates of labels.json, and notes about them."""
    found = read_json(path)
    if not isinstance(found, dict) or not found:
        raise VidsslError(f"annotations: {path}: not an object of templates and numbers; take the release's file")
    numbers: dict[int, str] = {}
    for name, value in found.items():
        if not re.fullmatch("[0-9]{1,9}", str(value)):
            raise VidsslError(
                f"annotations: {path}: {name!r} has the number {brief(value)}; take the release's file, "
                "which numbers its templates from 0"
            )
        if int(value) in numbers:
            raise VidsslError(
                f"annotations: {path}: {name!r} and {numbers[int(value)]!r} have the number {int(value)}; "
                "take the release's file"
            )
        numbers[int(value)] = name
    notes = []
    if len(numbers) != CLASSES:
        notes.append(f"{path.name} names {len(numbers)} templates; the release has {CLASSES}")
    if [numbers.get(at) for at in range(len(numbers))] != sort_classes(found):
        notes.append(f"vidssl numbers classes in the order of their names, which differs from {path.name}")
    return set(found), notes


def _answers(path: Path) -> dict[str, str]:
    """The template of each video of the test set."""
    found: dict[str, str] = {}
    for at, line in read_lines(path):
        number, _, template = line.partition(";")
        if not number.strip().isdecimal() or not template.strip():
            raise VidsslError(
                f"annotations: {path}: line {at}: {shown(line)} is not a number and a template; "
                "write lines like '1420;Throwing something'"
            )
        found[number.strip()] = template.strip()
    return found


def _entries(
    path: Path, templates: set[str], answers: dict[str, str] | None, files: VideoFiles, *, labelled: bool
) -> tuple[list[Entry], list[str]]:
    """Read the videos of a list, and list the problems."""
    entries, wrong = [], []
    for at, one in enumerate(read_records(path, "id"), start=1):
        name = str(one["id"]).strip()
        if isinstance(one["id"], bool) or not name.isdecimal():
            raise VidsslError(
                f"annotations: {path}: entry {at}: the id {brief(one['id'])} is not a number; take the release's file"
            )
        template = answers.get(name) if answers is not None else one.get("template")
        label = template.replace("[", "").replace("]", "").strip() if isinstance(template, str) else None
        if labelled and label not in templates:
            said = "no template" if template is None else f"the template {brief(template)}"
            wrong.append(f"entry {at}: {name} has {said}, and no such one is in labels.json; it gets no label")
        entries.append(files.entry(name, f"{name}.webm", label if label in templates else None, None))
    return entries, wrong


def _shared(parts: dict[str, list[Entry]]) -> list[str]:
    """List a problem for each two parts that name the same videos."""
    names = {part: {entry.name for entry in entries} for part, entries in parts.items()}
    pairs = [(a, b) for at, a in enumerate(names) for b in list(names)[at + 1 :]]
    return [
        f"{a} and {b} share {many_of(len(names[a] & names[b]), 'video')}, such as {min(names[a] & names[b])}"
        for a, b in pairs
        if names[a] & names[b]
    ]
