"""The subcommands of `datasets`. Their docstrings are the help texts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vidssl.cli.arguments import VideosPath
from vidssl.datasets import (
    Dataset,
    diving48,
    epic_kitchens,
    hmdb51,
    kinetics,
    plain,
    ssv2,
    ucf101,
    with_duplicates,
    write_lists,
)
from vidssl.index.lists import LISTS, is_list
from vidssl.types import VidsslError

Kind = Literal[
    "ucf101",
    "hmdb51",
    "kinetics",
    "ssv2",
    "diving48",
    "epic_kitchens",
    "epic_kitchens_verbs",
    "epic_kitchens_nouns",
    "folder",
    "csv",
]
_OFFICIAL: dict[str, Callable[[Path, Path | None], Dataset]] = {
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "kinetics": kinetics,
    "ssv2": ssv2,
    "diving48": diving48,
    "epic_kitchens": epic_kitchens,
    "epic_kitchens_verbs": partial(epic_kitchens, labels="verb"),
    "epic_kitchens_nouns": partial(epic_kitchens, labels="noun"),
}


def check(
    kind: Positional[Kind],
    videos: VideosPath,
    *,
    annotations: Path | None = None,
    group: str = "",
    subset: bool = False,
    duplicates: bool = False,
    workers: int | None = None,
) -> None:
    """Check that the videos of a data set exist. The exit code is 1 if any is missing, or if there are problems.
    Nothing is decoded without --duplicates.

    Args:
        kind: Kind of data set: ucf101, hmdb51, kinetics, ssv2 (Something-Something V2), diving48, epic_kitchens
            (EPIC-KITCHENS-100; with _verbs or _nouns, these are the labels), folder (a folder for each class) or csv (a
            list).
        videos: Folder of the videos; for csv, the list.
        annotations: Lists of the release: the folder ucfTrainTestlist or testTrainMulti_7030_splits, the CSV files of
            Kinetics, the folder labels of Something-Something V2, or the folder of Diving48_V2_train.json or of
            EPIC_100_train.csv. None looks for them in and beside videos.
        group: For folder and csv: regular expression; the text that it matches in a path is the group of the video.
            Example: "[a-z]+(?=_)".
        subset: Accept that videos are missing, as of a part of the release; they are counted and named all the same.
        duplicates: Also look for near-duplicates: copies that were re-encoded, resized, trimmed or mirrored. A pair
            that may be on both sides of a split is a problem. Every video is decoded. It needs ImageHash: pip install
            'vidssl[duplicates]'.
        workers: Threads that decode; None takes one for each core.
    """
    found = _read(kind, videos, annotations, group)
    if duplicates:
        found = with_duplicates(found, workers=workers)
    print(found.text())
    if found.problems or (found.missing and not (subset and found.present)):
        print(
            f"{found.name}: {sum(map(len, found.missing.values()))} missing, {len(found.problems)} problems",
            file=sys.stderr,
        )
        raise SystemExit(1)


def lists(
    kind: Positional[Kind],
    videos: VideosPath,
    *,
    out: Path,
    annotations: Path | None = None,
    group: str = "",
    fraction: float = 0.0,
    seed: int = 0,
    index: bool = False,
    workers: int | None = None,
) -> None:
    """Write a list (.csv: path,label,group; of segments also start,end) or an index of each split, for the options
    --data, --train and --test.

    Args:
        kind: Kind of data set: ucf101, hmdb51, kinetics, ssv2 (Something-Something V2), diving48, epic_kitchens
            (EPIC-KITCHENS-100; with _verbs or _nouns, these are the labels), folder (a folder for each class) or csv (a
            list).
        videos: Folder of the videos; for csv, the list.
        out: Folder for the lists.
        annotations: See `vidssl datasets check --help`.
        group: See `vidssl datasets check --help`.
        fraction: For folder and csv: fraction of the videos in the test set; groups are not split. 0 writes one list.
        seed: For folder and csv: seed of the split.
        index: Write indexes (.arrow) instead of lists; every video is decoded once.
        workers: Threads that index; None takes one for each core.
    """
    found = _read(kind, videos, annotations, group, fraction, seed)
    for path in write_lists(found, out, index=index, workers=workers):
        print(f"wrote {path}")
    print(found.text())


def commands() -> dict[str, Callable[..., None]]:
    """Returns the subcommands by name."""
    return {"check": check, "lists": lists}


def _read(
    kind: str, videos: Path, annotations: Path | None, group: str, fraction: float = 0.0, seed: int = 0
) -> Dataset:
    if kind in _OFFICIAL:
        if group or fraction:
            raise VidsslError(
                f"group={group!r}, fraction={fraction}: {kind} has its own groups and splits; "
                "leave both out, or take kind=folder"
            )
        return _OFFICIAL[kind](videos, annotations)
    if annotations is not None:
        raise VidsslError(
            f"annotations={str(annotations)!r}: kind={kind} has no annotations; name the list as videos, with kind=csv"
        )
    if kind == "csv" and not is_list(videos):
        raise VidsslError(
            f"videos={str(videos)!r}: not a list ({', '.join(LISTS)}); take kind=folder for a folder of videos"
        )
    return plain(videos, group=group, fraction=fraction, seed=seed)
