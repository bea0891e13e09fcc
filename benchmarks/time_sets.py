"""The clips of bench_time: several sets in one index, and which groups are asked for. The split is fixed beforehand."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidssl.evaluate.splits import Splits
from vidssl.index.holdout import match_groups
from vidssl.index.lists import write_list
from vidssl.index.sources import find_videos
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError

PERSON = "[a-z]+(?=_)"  # of a path of the Weizmann set, such as bend/daria_bend.avi
FORMS = ("inductive", "transductive")
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sets:
    """All clips, and which of them are asked for.

    Args:
        index: All clips; a group begins with the name of its set.
        rows: int64, the clips of each set that is asked for.
        asked: int64, those of them whose groups are in no inductive pretraining.
    """

    index: VideoIndex
    rows: dict[str, Rows]
    asked: dict[str, Rows]

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits, of the paths of all clips and of those that are asked for."""
        paths = self.index.column("path").to_pylist()
        named = [paths, *([paths[row] for row in self.asked[name].tolist()] for name in self.rows)]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:8]

    def pretraining(self, form: str) -> VideoIndex:
        """The clips to pretrain on: all of them, or those of no group that is asked for."""
        if form == "transductive":
            return self.index
        asked = np.concatenate([np.zeros(0, np.int64), *self.asked.values()])
        return self.index.select(np.setdiff1d(np.arange(len(self.index)), asked))

    def splits(self, form: str, name: str) -> Splits:
        """The clips of a set to learn from and to ask for: the other groups' and the asked ones', or each group's."""
        if form == "transductive":
            whole = self.index.select(self.rows[name])
            return Splits(train=whole, test=whole, description="each group against the others", leave_group_out=True)
        asked = self.asked[name]
        known = self.index.select(np.setdiff1d(self.rows[name], asked))
        return Splits(train=known, test=self.index.select(asked), description="groups that no pretraining saw")

    def timed(self, form: str) -> VideoIndex:
        """The clips on which time sensitivity is measured: those of the splits."""
        found = self.rows if form == "transductive" else self.asked
        return self.index.select(np.sort(np.concatenate(list(found.values()))))


def read_sets(data: Path, weizmann: Path | None, where: Path, *, asked: Sequence[str], fraction: float) -> Sets:
    """Indexes all clips, and splits the sets that are asked for.

    Args:
        data: A folder with a folder for each set. NAME.csv beside it (path,label,group) names the clips of a set; of
            other folders, all clips are pretrained on without a label.
        weizmann: Folder of the Weizmann set (<action>/<person>_<action>.avi), with the persons as groups.
        where: Folder for the list and the index of all clips, which are read again if they are there.
        asked: Names of the sets that are asked for.
        fraction: Of the clips of a set, at least this many are asked for, in whole groups.

    Raises:
        VidsslError: There is no such folder or set, or a set that is asked for has a clip without label or group.
    """
    if not data.is_dir():
        raise VidsslError(f"data={str(data)!r}: no such folder; name one with a folder for each set")
    lists = {path.stem: path for path in sorted(data.glob("*.csv"))}
    folders = {path.name: path for path in sorted(data.iterdir()) if path.is_dir() and path.name not in lists}
    rows: list[tuple[str, str | None, str]] = []
    for name, source in {**lists, **folders}.items():
        root, videos, _ = find_videos(source)
        for number, one in enumerate(videos):
            label, group = (one.label, one.group) if name in lists else (None, None)
            rows.append((str(root / one.path), label, f"{name}/{group or f'clip {number}'}"))
    if weizmann is not None:
        root, videos, _ = find_videos(weizmann)
        people = match_groups([one.path for one in videos], PERSON, "weizmann")
        rows += [
            (str(root / one.path), one.label, f"weizmann/{person}") for one, person in zip(videos, people, strict=True)
        ]
    where.mkdir(parents=True, exist_ok=True)
    write_list(where / "clips.csv", rows)
    kept = where / "clips.arrow"
    known = VideoIndex.load(kept, allow_outside=True) if kept.is_file() else None
    index = VideoIndex.build(where / "clips.csv", known=known)
    index.save(kept)
    return split_sets(index, asked, fraction)


def by_digest(groups: Iterable[str]) -> list[str]:
    """The different groups, in an order that depends on their names alone."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).hexdigest())


def split_sets(index: VideoIndex, asked: Sequence[str], fraction: float) -> Sets:
    """Sets groups of each set aside: in an order that depends on their names alone, until they hold the fraction."""
    if not 0 < fraction < 1:
        raise VidsslError(f"fraction={fraction}: take a fraction of the clips, 0 < fraction < 1")
    groups, labels = (index.column(column).to_pylist() for column in ("group", "label"))
    of = np.array([str(group).split("/")[0] for group in groups])
    found, aside = {}, {}
    for name in asked:
        found[name] = rows = np.flatnonzero(of == name)
        if not len(rows) or any(labels[row] is None for row in rows.tolist()):
            has = ", ".join(sorted(set(of.tolist())))
            raise VidsslError(f"asked={name!r}: no set, or one without labels; take some of {has} that have labels")
        sizes = Counter(groups[row] for row in rows.tolist())
        order = by_digest(sizes)
        before = np.cumsum([0, *(sizes[group] for group in order)])[:-1]
        own = {group for group, count in zip(order, before.tolist(), strict=True) if count < fraction * len(rows)}
        if len(own) == len(order):
            raise VidsslError(f"asked={name!r}: it has {len(order)} group(s), so none would be left to learn from")
        aside[name] = np.array([row for row in rows.tolist() if groups[row] in own])
    return Sets(index=index, rows=found, asked=aside)
