"""Check and split your own videos: one folder for each class, or a list.

vidssl.index.lists says how a list is written.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry, empty_files, refused_files
from vidssl.index.holdout import hold_out, match_groups
from vidssl.index.sources import find_videos
from vidssl.paths import many_of
from vidssl.types import VidsslError


def plain(source: Path, *, group: str = "", fraction: float = 0.0, seed: int = 0) -> Dataset:
    """Check your own videos, and split them into train and test. The two sets share no group.

    Args:
        source: Folder with one folder for each class, or a list.
        group: Regular expression. Its match in a path is the video's group and replaces the group of the list.
        fraction: Fraction of the videos for the test set, 0 <= fraction < 1, as closely as whole groups allow.
        seed: Seed of the choice of groups.

    Returns:
        The data set with the part "all", or with the parts "train" and "test" if fraction is above 0.

    Raises:
        VidsslError: fraction is out of range, source cannot be read, or group is invalid or matches no path.
    """
    if not 0 <= fraction < 1:
        raise VidsslError(f"fraction={fraction}: take a fraction of the videos with 0 <= fraction < 1")
    root, found, remarks = find_videos(source)
    whole = [one for one in found if not one.packed]
    files = [one for one in whole if not one.refused]
    matches = match_groups([one.path for one in files], group, "group")
    entries = []
    for one, match in zip(files, matches, strict=True):
        path = root / one.path if one.is_frames else root / one.file
        there = path if os.path.isfile(root / one.file) else None
        entries.append(Entry(one.path, there, one.label, match or one.group, excerpt=one.excerpt))
    parts = {"all": entries}
    if fraction:
        held = set(hold_out([entry.group or entry.name for entry in entries], fraction, seed=seed).tolist())
        parts = {
            "train": [entry for at, entry in enumerate(entries) if at not in held],
            "test": [entries[at] for at in sorted(held)],
        }
    listed = source.is_file()
    return Dataset(
        name=source.stem if listed else source.resolve().name,
        parts=parts,
        problems=refused_files(whole) + _problems(entries) + empty_files(parts),
        notes=remarks + _notes(len(found) - len(whole), parts),
        source=source if listed else None,
    )


def _problems(entries: list[Entry]) -> list[str]:
    bare = [entry.name for entry in entries if entry.label is None]
    forks = [entry.name for entry in entries if Path(entry.name).name.startswith("._")]
    count = Counter(entry.label for entry in entries if entry.label is not None)
    problems = [f"{len(bare)} videos have no class, such as {bare[0]}"] if bare else []
    problems += (
        [f"{len(forks)} files are not videos but macOS metadata (._*), such as {forks[0]}; remove them"]
        if forks
        else []
    )
    return problems + ["all videos have the same class"] * (len(count) == 1)


def _notes(packed: int, parts: dict[str, list[Entry]]) -> list[str]:
    notes = [f"{packed} videos in shards (.tar) are left out, because a list cannot name them"] if packed else []
    count = Counter(entry.label for entries in parts.values() for entry in entries if entry.label is not None)
    if count:
        (most, many), (least, few) = count.most_common()[0], count.most_common()[-1]
        notes.append(
            f"each class has {many_of(few, 'video')}"
            if few == many
            else f"classes have from {many_of(few, 'video')} ({least}) to {many} ({most})"
        )
    if "test" in parts:
        lost = sorted(
            {entry.label for entry in parts["test"] if entry.label}
            - {entry.label for entry in parts["train"] if entry.label}
        )
        notes += (
            [f"{len(lost)} classes are only in test, such as {lost[0]}; take another seed, or smaller groups"]
            if lost
            else []
        )
    return notes
