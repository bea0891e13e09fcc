"""Which videos an evaluation learns from (or looks for neighbours among), and which it tests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.index.holdout import fingerprint, match_groups, split
from vidssl.index.names import Names
from vidssl.index.sources import find
from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """known: videos to learn from, the gallery of retrieval. asked: to test on, its queries; None: the known ones, each
    with help of those of other groups alone. split: how they were parted, in words.
    """

    known: VideoIndex
    asked: VideoIndex | None
    split: str

    @property
    def apart(self) -> bool:
        """Whether each group of the known videos is tested with what the others tell."""
        return self.asked is None

    @property
    def tested(self) -> VideoIndex:
        """The videos to test on, also those that cannot be used."""
        return self.known if self.asked is None else self.asked

    def notes(self, tested: int, known: Sequence[str | None]) -> tuple[str, ...]:
        """What a table of `tested` test videos hides. known: labels of the videos to learn from."""
        found, test = [], self.tested
        if tested < len(test):
            found.append(
                f"{len(test) - tested} of {len(test)} test videos left out: they cannot be read, or are shorter than a clip."
            )
        strange = [label for label in test.column("label").to_pylist() if label not in set(known)]
        if strange:
            found.append(
                f"{len(strange)} test videos are of a class that is not known, such as {strange[0]!r}: they count as wrong."
            )
        return tuple(found)

    def data(self) -> dict[str, object]:
        """What was evaluated on, for a result."""
        test = self.tested
        return {
            "train": fingerprint(self.known),
            "train_root": self.known.root.name,
            "train_videos": len(self.known),
            "test": fingerprint(test),
            "test_root": test.root.name,
            "test_videos": len(test),
        }


def parts(
    recipe: Recipe,
    pretrained: str,
    train: VideoIndex,
    *,
    test: VideoIndex | None = None,
    labels: Path | None = None,
    groups: str = "",
    by_group: bool = False,
) -> Parts:
    """train: videos to learn from. test: to test on. None: the part of `train` that the run's recipe holds out; or,
    by_group, each group of `train` in turn (a person, say), with what the others tell.

    pretrained: fingerprint of the run's videos. labels: a .csv (path,label[,group]) whose labels and groups count;
    videos that it does not name are left out. groups: regular expression; what it matches in a path is the video's
    group. Raises VidsslError where these contradict each other, or nothing is left to test on.
    """
    if by_group and test is not None:
        raise VidsslError("evaluate: by_group=True: it tests each group of train in turn; leave test out, or by_group")
    known, asked = (one and grouped(relabelled(one, labels) if labels else one, groups) for one in (train, test))
    assert known is not None
    if asked is not None:
        first, second = ({one.root / path for path in one.column("path").to_pylist()} for one in (known, asked))
        shared = first & second
        if shared:
            raise VidsslError(
                f"evaluate: test: {len(shared)} of its videos are in train too, such as {min(shared)}; part them"
            )
        return Parts(known=known, asked=asked, split="training and test videos as given")
    if by_group:
        names = {
            said or path
            for said, path in zip(known.column("group").to_pylist(), known.column("path").to_pylist(), strict=True)
        }
        kind = "videos" if len(names) == len(known) else "groups"
        return Parts(known=known, asked=None, split=f"each of {len(names)} {kind} tested with what the others tell")
    share = recipe.train.holdout
    if not share:
        raise VidsslError(
            "evaluate: test: the run's recipe holds out no videos (holdout=0); name some with test, or take by_group"
        )
    span = recipe.pretext.plan.frames
    rest, held = split(known, share, seed=recipe.train.seed, group=recipe.train.group, span=span)
    own = fingerprint(train) == pretrained
    said = (
        "the run's held-out videos"
        if own
        else f"{share:.0%} of the videos, held out as the recipe does (the run was trained on others)"
    )
    return Parts(known=rest, asked=held, split=f"tested on {said}")


def relabelled(index: VideoIndex, labels: Path) -> VideoIndex:
    """The videos that a .csv names, with its labels and groups: by their paths from the list's folder, or else by the
    ends of them.
    """
    if labels.suffix != ".csv":
        raise VidsslError(f"labels={str(labels)!r}: take a .csv with the columns path,label[,group]")
    root, found = find(labels)
    if any(one.label is None for one in found):
        raise VidsslError(
            f"labels={str(labels)!r}: some lines have no label, such as {next(o.path for o in found if o.label is None)}'s"
        )
    names = Names([(root / one.path).resolve().as_posix() for one in found], f"labels={str(labels)!r}")
    rows, said = [], []
    for row, path in enumerate(index.column("path").to_pylist()):
        place = names.find((index.root / path).resolve().as_posix(), name=path)
        if place is not None:
            rows.append(row)
            said.append(found[place])
    if not rows:
        raise VidsslError(
            f"labels={str(labels)!r}: names none of the {len(index)} videos, such as {index.column('path')[0]}"
        )
    return _with(index.select(rows), {"label": [one.label for one in said], "group": [one.group for one in said]})


def grouped(index: VideoIndex, pattern: str) -> VideoIndex:
    """With what a regular expression matches in each path as its group; an empty one changes nothing."""
    if not pattern:
        return index
    return _with(index, {"group": match_groups(index.column("path").to_pylist(), pattern, "evaluate: groups")})


def _with(index: VideoIndex, columns: dict[str, list[str | None]]) -> VideoIndex:
    table = index.table
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return VideoIndex(table, index.root)


def by_turns(groups: list[str]) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(places of the others, places of the group) for each group, int64, in the order of their names."""
    names = np.asarray(groups, dtype=np.str_)
    return [(np.flatnonzero(names != one), np.flatnonzero(names == one)) for one in np.unique(names)]
