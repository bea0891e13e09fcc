"""Which videos an evaluation trains on (the gallery of retrieval), and which it tests on (its queries)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.index.holdout import fingerprint, match_groups
from vidssl.index.lists import LISTS, is_list
from vidssl.index.names import Names
from vidssl.index.sources import find_videos
from vidssl.index.table import VideoIndex
from vidssl.paths import printable
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

FOLDS = 20  # at most, of a model that leaves groups out; nearest neighbours leave out each group alone


@dataclass(frozen=True)
class Seen:
    """Which test videos a run has seen in its training.

    Attributes:
        count: Their number; None if it is not known, see `vidssl.evaluate.seen.count_seen`.
        begun_with: Weights that the run began with, which may have seen others of them (`TrainedRun.begun_with`).
        labelled: Whether the run learnt their labels, as one that was fine-tuned.
    """

    count: int | None = None
    begun_with: str = ""
    labelled: bool = False

    @property
    def known(self) -> int | None:
        """The number, if there are no other weights that may have seen more of them."""
        return None if self.begun_with else self.count

    def note(self, tested: int) -> str:
        """Says how many of the tested videos the run has seen."""
        videos, how = ("training", "with") if self.labelled else ("pretraining", "without")
        if self.count is None:
            said = f"How many of the test videos were among the run's {videos} videos is not known."
        else:
            said = f"{self.count} of {tested} test videos were among the run's {videos} videos ({how} labels)."
        if self.begun_with:
            said += (
                f" It began with the weights of {self.begun_with}; whether those have seen test videos is not known."
            )
        return said


NOT_KNOWN = Seen()


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """The videos of an evaluation.

    Args:
        train: Videos to train on; the gallery of retrieval.
        test: Videos to test on; the queries of retrieval.
        description: How the videos were split, for people.
        leave_group_out: Whether `test` is `train`, and each group is tested against all the other groups.
        number: Number of the official split; None if the videos are split otherwise.
        missing: Number of videos of the official split that are not in the folder.
        seen: Which test videos the run has seen in its training.
    """

    train: VideoIndex
    test: VideoIndex
    description: str
    leave_group_out: bool = False
    number: int | None = None
    missing: int = 0
    seen: Seen = NOT_KNOWN

    def named(self, kind: str) -> str:
        """The name of an evaluation's results: an official split adds its number."""
        return split_name(kind, self.number)

    def notes(self, tested: int, train_labels: Sequence[str | None]) -> tuple[str, ...]:
        """What a table of results does not show: test videos seen in pretraining or left out, and classes without any.

        Args:
            tested: Number of test videos that were used.
            train_labels: Labels of the training videos.
        """
        found = [*self.copies_note(), self.seen.note(len(self.test))]
        if self.missing:
            found.append(f"{self.missing} videos of the official lists are missing.")
        if tested < len(self.test):
            found.append(
                f"{len(self.test) - tested} of {len(self.test)} test videos were left out: they cannot be read, or are "
                "shorter than a clip."
            )
        unseen = [label for label in self.test.column("label").to_pylist() if label not in set(train_labels)]
        if unseen:
            found.append(
                f"{len(unseen)} test videos are of a class without training videos, such as {unseen[0]!r}: they count "
                "as wrong."
            )
        return tuple(found)

    def copies_note(self) -> tuple[str, ...]:
        """Says how many test videos are copies of training videos, if any are."""
        if self.leave_group_out:
            return ()
        try:
            copies = copies_of(self.test, self.train)
        except VidsslError as damaged:
            return (f"Whether test videos are copies of training videos is not known: {damaged}.",)
        if not copies:
            return ()
        one, other = map(printable, min(copies.items()))
        return (
            f"{len(copies)} of the {len(self.test)} test videos are copies of training videos, such as "
            f"{one} of {other}. The numbers are too high; remove the copies.",
        )

    def folds_note(self, groups: list[str]) -> tuple[str, ...]:
        """What a model that leaves groups out does with many groups; nearest neighbours leave out each group alone."""
        count = len(set(groups))
        if not self.leave_group_out or count <= FOLDS:
            return ()
        return (f"The linear model leaves out one of {FOLDS} sets of groups at a time, not each of {count} groups.",)

    def data(self) -> dict[str, object]:
        """The data sets, for a result's JSON file."""
        return {
            "train": fingerprint(self.train),
            "train_root": self.train.root.name,
            "train_videos": len(self.train),
            **test_data(self.test, self.seen),
        }


def copies_of(test: VideoIndex, train: VideoIndex) -> dict[str, str]:
    """Returns the paths of test videos whose packets are those of a training video, and the path of that one.

    Their files may differ in their names and dates. A video that was encoded again is no copy in this sense: see
    `vidssl datasets check --duplicates`.
    """
    both = np.intersect1d(test.column("bytes").to_numpy(), train.column("bytes").to_numpy())

    def content(index: VideoIndex) -> Iterator[tuple[Any, str]]:
        usable = index.usable()  # of these, videos of other sizes need not be read
        part = index.select(usable[np.isin(index.column("bytes").to_numpy()[usable], both)])
        columns = ("bytes", "start", "end", "header_checksum", "checksums", "path")
        for *what, packets, path in zip(*(part.column(name).to_pylist() for name in columns), strict=True):
            if packets:
                yield (*what, tuple(packets)), path

    known = dict(content(train))
    return {path: known[what] for what, path in content(test) if what in known}


def test_data(test: VideoIndex, seen: Seen) -> dict[str, object]:
    """The test videos, for a result's JSON file. seen: Which of them the run has seen."""
    return {
        "test": fingerprint(test),
        "test_root": test.root.name,
        "test_videos": len(test),
        "test_videos_pretrained_on": seen.known,
    }


def split_name(kind: str, number: int | None) -> str:
    """The name of an evaluation's results on an official split, or of `kind` if the videos are split otherwise."""
    return kind if number is None else f"{kind}_split{number}"


def make_splits(
    recipe: Recipe,
    pretrained: Set[str],
    train: VideoIndex,
    *,
    own: Sequence[VideoIndex] = (),
    test: VideoIndex | None = None,
    labels: Path | None = None,
    groups: str = "",
    leave_group_out: bool = False,
) -> Splits:
    """Splits videos into those to train on and those to test on.

    Args:
        recipe: The run's recipe.
        pretrained: Fingerprints of the run's videos, and of each set that it mixed (`TrainedRun.trained_on`).
        train: Videos to train on.
        own: Indexes of the run's videos, as far as they are there (`vidssl.evaluate.seen.own_indexes`). They tell which
            videos the run held out, as `train` may have other groups than they have.
        test: Videos to test on. None takes the part of `train` that the run held out, whatever `labels` and `groups`
            say; or, of videos that the run was not trained on, a part that is held out by the recipe's rule.
        labels: A list with labels, such as a .csv (path,label[,group]), that replaces labels and groups. Videos that it
            does not name are left out.
        groups: Regular expression; what it matches in a path is the video's group.
        leave_group_out: Test each group of `train` (a person, say) against all the other groups.

    Raises:
        VidsslError: The arguments contradict each other, or leave nothing to test on.
    """
    if leave_group_out and test is not None:
        raise VidsslError(
            "evaluate: leave_group_out=True: it tests each group of train; leave out test, or leave_group_out"
        )
    train_set = with_groups(with_labels(train, labels) if labels else train, groups)
    if test is not None:
        test_set = with_groups(with_labels(test, labels) if labels else test, groups)
        first, second = ({one.root / path for path in one.column("path").to_pylist()} for one in (train_set, test_set))
        if both := first & second:
            raise VidsslError(
                f"evaluate: test: {len(both)} of its videos are in train too, such as {min(both)}; "
                "remove them from one of the two"
            )
        return Splits(train=train_set, test=test_set, description="training and test videos as given")
    known = _run_videos(pretrained, own, train)
    if leave_group_out:
        names, paths = (train_set.column(column).to_pylist() for column in ("group", "path"))
        count = len({name or path for name, path in zip(names, paths, strict=True)})
        kind = "videos" if count == len(train_set) else "groups"
        description = f"each of {count} {kind} tested against the others"
        return Splits(
            train=train_set,
            test=train_set,
            description=description,
            leave_group_out=True,
            seen=Seen(count_pretrained(recipe, known, train_set)),
        )
    fraction = recipe.train.holdout
    if not fraction:
        raise VidsslError(
            "evaluate: test: the run's recipe holds out no videos (holdout=0); give test, or leave_group_out"
        )
    if files := _held_out(recipe, known, train):
        is_held = np.array([file in files for file in _files(train_set)])
        if is_held.all() or not is_held.any():
            what = "all" if is_held.all() else "none"
            raise VidsslError(
                f"evaluate: labels={str(labels)!r}: the run held out {what} of its videos; add others, or give test"
            )
        rest, held = (train_set.select(np.flatnonzero(part)) for part in (~is_held, is_held))
        description = "tested on the run's held-out videos"
    else:
        rest, held = recipe.train.split(train_set, recipe.pretext.plan.frames)
        description = (
            f"tested on {fraction:.0%} of the videos, held out by the recipe's rule (the run was trained on others)"
        )
    return Splits(train=rest, test=held, description=description, seen=Seen(count_pretrained(recipe, known, held)))


def _run_videos(pretrained: Set[str], own: Sequence[VideoIndex], train: VideoIndex) -> list[VideoIndex]:
    """The videos that a run is known to have been trained on: `own`, and `train` if it is of the run and not in `own`.

    An index of `own` that is of the same videos as `train` finds them where `train` does: they may have moved.
    """
    mark, marks = fingerprint(train), [fingerprint(one) for one in own]
    found = [VideoIndex(one.table, train.root) if its == mark else one for one, its in zip(own, marks, strict=True)]
    return [*found, train] if mark in pretrained and mark not in marks else found


def _held_out(recipe: Recipe, known: Sequence[VideoIndex], train: VideoIndex) -> set[Path]:
    """The files that a run held out, of each of its data sets whose held-out videos are all among `train`.

    Empty if `train` has no other videos.
    """
    files, found = set(_files(train)), set[Path]()
    for index in known:
        _, held = recipe.train.split(index, recipe.pretext.plan.frames)
        if files.issuperset(mine := _files(held)):
            found.update(mine)
    return found if found < files else set()


def _files(index: VideoIndex) -> list[Path]:
    """Where the videos are: a path for each, which tells the segments of a file apart."""
    root = index.root.resolve()
    return [root / path for path in index.column("path").to_pylist()]


def seen_of(recipe: Recipe, pretrained: VideoIndex, test: VideoIndex) -> set[str]:
    """The paths of the test videos that a run saw which was pretrained on an index: all but those that it held out.

    They are the same files, or copies of them (`copies_of`): videos may have moved since.
    """
    span = recipe.pretext.plan.frames
    seen, _ = recipe.train.split(pretrained, span)
    seen = seen.select(seen.usable(span))
    files, paths = set(_files(seen)), test.column("path").to_pylist()
    same = {path for path, file in zip(paths, _files(test), strict=True) if file in files}
    return same | copies_of(test, seen).keys()


def count_pretrained(recipe: Recipe, known: Sequence[VideoIndex], test: VideoIndex) -> int | None:
    """How many test videos a run saw that was trained on `known`; None if nothing is known, or an index is damaged."""
    if not known:
        return None
    try:
        return len(set[str]().union(*(seen_of(recipe, index, test) for index in known)))
    except VidsslError:  # a damaged index, or one without checksums; of the splits, `copies_note` says which
        return None


def with_labels(index: VideoIndex, labels: Path) -> VideoIndex:
    """Returns the videos that a list names, with its labels and groups.

    A line names a video by its path, relative to the folder of the list, or by the end of its path.

    Raises:
        VidsslError: The file is no list, a line has no label, or it names none of the videos.
    """
    where = f"labels={str(labels)!r}:"
    if not is_list(labels):
        raise VidsslError(
            f"{where} take a list ({', '.join(LISTS)}), such as a .csv with the columns path,label[,group]"
        )
    root, lines, _ = find_videos(labels)
    if unlabelled := [line.path for line in lines if line.label is None]:
        raise VidsslError(f"{where} {len(unlabelled)} lines have no label, such as that of {unlabelled[0]}; add labels")
    names = Names([(root / line.path).resolve().as_posix() for line in lines], where.removesuffix(":"))
    rows, named = [], []
    for row, path in enumerate(index.column("path").to_pylist()):
        line = names.find((index.root / path).resolve().as_posix(), name=path)
        if line is not None:
            rows.append(row)
            named.append(lines[line])
    if not rows:
        raise VidsslError(
            f"{where} it names none of the {len(index)} videos, such as {index.column('path')[0]}; correct its paths"
        )
    return with_columns(
        index.select(rows), {"label": [one.label for one in named], "group": [one.group for one in named]}
    )


def with_groups(index: VideoIndex, pattern: str) -> VideoIndex:
    """Returns the videos with what a regular expression matches in each path as the group.

    An empty expression changes nothing.
    """
    if not pattern:
        return index
    return with_columns(index, {"group": match_groups(index.column("path").to_pylist(), pattern, "evaluate: groups")})


def with_columns(index: VideoIndex, columns: dict[str, list[str | None]]) -> VideoIndex:
    """Returns the videos with other labels or groups: a list of names by column."""
    table = index.table
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return VideoIndex(table, index.root)


def group_folds(groups: list[str], most: int = FOLDS) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Returns (training indices, test indices), int64, for each fold: the others, and the fold.

    A fold is a group, or, with more than `most` groups, one of `most` sets of groups of about the same number.
    """
    names, at = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    fold = np.arange(len(names))
    if len(names) > most:
        fold = np.random.default_rng(0).permutation(len(names)) % most
    mine = fold[at]
    return [(np.flatnonzero(mine != one), np.flatnonzero(mine == one)) for one in range(min(len(names), most))]
