"""The subcommands of `datasets`. Their docstrings are the help texts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vidssl.datasets import Dataset, hmdb51, kinetics, plain, ucf101, write_lists
from vidssl.types import VidsslError

Kind = Literal["ucf101", "hmdb51", "kinetics", "folder", "csv"]
_OFFICIAL: dict[str, Callable[[Path, Path | None], Dataset]] = {
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "kinetics": kinetics,
}


def check(
    kind: Positional[Kind], videos: Positional[Path], *, annotations: Path | None = None, group: str = ""
) -> None:
    """Say what of a data set is there, and what is missing or wrong; then the exit code is 1. Reads names, not videos.

    Args:
        kind: Of data set: ucf101, hmdb51, kinetics, a folder a class, or a list (csv: path,label[,group]).
        videos: Folder of the videos; of csv, the list.
        annotations: The release's lists: ucfTrainTestlist, testTrainMulti_7030_splits, or Kinetics' CSV or a folder of
            them; none looks for them in and beside videos.
        group: Of folder and csv: regular expression; what it matches in a path is the video's group, such as
            "[a-z]+(?=_)".
    """
    found = _read(kind, videos, annotations, group)
    print(found.text())
    if not found.whole:
        print(
            f"{found.name}: {sum(map(len, found.missing.values()))} missing, {len(found.problems)} problems",
            file=sys.stderr,
        )
        raise SystemExit(1)


def lists(
    kind: Positional[Kind],
    videos: Positional[Path],
    *,
    out: Path,
    annotations: Path | None = None,
    group: str = "",
    fraction: float = 0.0,
    seed: int = 0,
    index: bool = False,
    workers: int | None = None,
) -> None:
    """Write a list (.csv: path,label,group) of each part that is there, or an index of it: what --data, --train and
    --test take.

    Args:
        kind: Of data set: ucf101, hmdb51, kinetics, a folder a class, or a list (csv: path,label[,group]).
        videos: Folder of the videos; of csv, the list.
        out: Folder for the lists.
        annotations: As for `check`.
        group: As for `check`.
        fraction: Of folder and csv: fraction of the videos in the test set; no group is split. 0: one list of all videos.
        seed: Of folder and csv: decides which.
        index: Write indexes (.arrow) instead: every video is decoded once.
        workers: Threads that index; none takes one a core.
    """
    found = _read(kind, videos, annotations, group, fraction, seed)
    for path in write_lists(found, out, index=index, workers=workers):
        print(f"wrote {path}")
    print(found.text())


def commands() -> dict[str, Callable[..., None]]:
    """Name to command."""
    return {"check": check, "lists": lists}


def _read(
    kind: str, videos: Path, annotations: Path | None, group: str, fraction: float = 0.0, seed: int = 0
) -> Dataset:
    if kind in _OFFICIAL:
        if group or fraction:
            raise VidsslError(
                f"{kind}: group, fraction: it has groups and splits of its own; leave them out, or take kind=folder"
            )
        return _OFFICIAL[kind](videos, annotations)
    if annotations is not None:
        raise VidsslError(f"annotations={str(annotations)!r}: {kind} takes none; name the list itself, with kind=csv")
    if kind == "csv" and videos.suffix != ".csv":
        raise VidsslError(f"videos={str(videos)!r}: not a .csv; take kind=folder for a folder a class")
    return plain(videos, group=group, fraction=fraction, seed=seed)
