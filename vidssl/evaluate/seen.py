"""How many videos of an evaluation a run was pretrained on, as far as an index of its videos is there to tell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from vidssl.evaluate.run import TrainedRun
from vidssl.evaluate.splits import Seen, count_pretrained
from vidssl.index.holdout import fingerprint
from vidssl.index.table import ENDING, VideoIndex
from vidssl.train.recorded import read_record, videos_of
from vidssl.types import VidsslError


def seen_by(run: TrainedRun, test: VideoIndex, count: int | None = None) -> Seen:
    """Which videos a run has seen in its training, and what is not known of it.

    Args:
        run: The run.
        test: The videos of an evaluation.
        count: The number of them, if it is known already; None counts them.
    """
    count = count_seen(run, test) if count is None else count
    return Seen(count, run.begun_with, labelled="finetune" in run.meta)


def count_seen(run: TrainedRun, test: VideoIndex) -> int | None:
    """Counts the videos that a run was pretrained on, without those that it held out.

    The run's videos are those of the indexes in its folder, or of the index that it was trained on, and are told by
    the fingerprints that it recorded. A video is found again by its file, or by its packets if it has moved.

    Args:
        run: The run.
        test: The videos of an evaluation.

    Returns:
        Number of videos of `test`; None if an index of the run's videos is not there any more, or damaged.
    """
    found = own_indexes(run, test)
    return count_pretrained(run.recipe, found, test) if len(found) == len(_sets(run)) else None


def own_indexes(run: TrainedRun, *others: VideoIndex) -> list[VideoIndex]:
    """Returns an index of the run's videos, or of each set that it mixed, as far as they are there.

    Args:
        run: The run.
        others: Indexes that may be of its videos too. They are asked last, as their groups may be others than those by
            which the run held out.
    """
    found: dict[str, VideoIndex] = {}
    wanted = _sets(run)
    for index in chain(_indexes(run), others):
        if (name := fingerprint(index)) in wanted:
            found.setdefault(name, index)
        if len(found) == len(wanted):
            break
    return list(found.values())


def _sets(run: TrainedRun) -> frozenset[str]:
    """The fingerprints of the run's videos; of a mixture, those of its sets."""
    return run.trained_on - {run.meta["data"]} or run.trained_on


def _indexes(run: TrainedRun) -> Iterator[VideoIndex]:
    """The indexes that may be of the run's videos. They are only compared: none of their videos is opened."""
    for path in [*sorted(run.folder.glob(f"index*{ENDING}")), *_sources(run)]:
        if not path.is_file():
            continue
        for root in (None, run.folder):  # where the videos' folder is gone, their packets still tell which they were
            try:
                yield VideoIndex.load(path, root=root, allow_outside=True)
                break
            except VidsslError:
                continue


def _sources(run: TrainedRun) -> list[Path]:
    """The indexes that the run's record names, as what it was trained on."""
    try:
        sets = videos_of(read_record(run.folder), run.folder, where="evaluate")
    except VidsslError:
        return []
    return [one.path for one in sets if one.path.suffix == ENDING]
