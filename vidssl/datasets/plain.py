"""A folder a class, or a list (.csv: path,label[,group]; .txt: a path a line): what `find` reads, checked, with parts
of its own.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry, empty_files
from vidssl.index.holdout import hold_out, match_groups
from vidssl.index.sources import find_videos
from vidssl.types import VidsslError


def plain(source: Path, *, group: str = "", fraction: float = 0.0, seed: int = 0) -> Dataset:
    """One part "all", or, with a share above 0, "train" and "test", between which no group is split.

    group: regular expression; what it matches in a path is the video's group, in the place of the list's. share: of the
    videos that go to the test, as closely as whole groups allow. seed: decides which.
    """
    if not 0 <= fraction < 1:
        raise VidsslError(f"fraction={fraction}: take a fraction of the videos, 0 <= fraction < 1")
    root, found = find_videos(source)
    files = [one for one in found if one.archive is None]
    matches = match_groups([one.path for one in files], group, "group")
    entries = []
    for one, match in zip(files, matches, strict=True):
        path = root / one.path
        entries.append(Entry(one.path, path if path.is_file() else None, one.label, match or one.group))
    parts = {"all": entries}
    if fraction:
        held = set(hold_out([entry.group or entry.name for entry in entries], fraction, seed=seed).tolist())
        parts = {
            "train": [entry for at, entry in enumerate(entries) if at not in held],
            "test": [entries[at] for at in sorted(held)],
        }
    return Dataset(
        name=source.name,
        parts=parts,
        problems=_problems(entries) + empty_files(parts),
        notes=_notes(len(found) - len(files), parts),
    )


def _problems(entries: list[Entry]) -> list[str]:
    bare = [entry.name for entry in entries if entry.label is None]
    forks = [entry.name for entry in entries if Path(entry.name).name.startswith("._")]
    count = Counter(entry.label for entry in entries if entry.label is not None)
    problems = [f"{len(bare)} videos have no class, such as {bare[0]}"] if bare else []
    problems += (
        [f"{len(forks)} files are no videos but what macOS leaves beside them, such as {forks[0]}; remove them"]
        if forks
        else []
    )
    return problems + ["all videos are of one class"] * (len(count) == 1)


def _notes(packed: int, parts: dict[str, list[Entry]]) -> list[str]:
    notes = [f"{packed} videos in shards (.tar) are left aside: lists cannot name them"] if packed else []
    count = Counter(entry.label for entries in parts.values() for entry in entries if entry.label is not None)
    if count:
        (most, many), (least, few) = count.most_common()[0], count.most_common()[-1]
        notes.append(
            f"{few} videos of each class"
            if few == many
            else f"from {few} videos of a class ({least}) to {many} ({most})"
        )
    if "test" in parts:
        lost = sorted(
            {entry.label for entry in parts["test"] if entry.label}
            - {entry.label for entry in parts["train"] if entry.label}
        )
        notes += (
            [f"{len(lost)} classes are in test alone, such as {lost[0]}; take another seed, or smaller groups"]
            if lost
            else []
        )
    return notes
