"""What the subcommands of `evaluate` share: the videos, and the frames that are kept of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vidssl.cli.data import open_kept
from vidssl.cli.store_data import open_store, parse_bytes
from vidssl.datasets import Dataset, hmdb51, ucf101
from vidssl.evaluate.over_splits import check_splits, evaluate_over_splits, official_splits
from vidssl.evaluate.result import BEGINS, Result
from vidssl.evaluate.run import TrainedRun, check_store_size, load_run
from vidssl.evaluate.seen import own_indexes, seen_by
from vidssl.evaluate.splits import Splits, make_splits
from vidssl.index.table import VideoIndex
from vidssl.paths import check_output, printable
from vidssl.remote import as_path
from vidssl.store.frames import parse_size
from vidssl.train.checkpoint import Which
from vidssl.types import VidsslError

ALL = (1, 2, 3)  # the official splits of UCF101 and HMDB51
# What the record of a fine-tuning says of its videos, and how each is read again.
_RECORDED: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("train", "test", "labels", "annotations"), as_path),
    "groups": str,
    "splits": lambda numbers: tuple(map(int, numbers)),
    "weights": str,
}


@dataclass(frozen=True, kw_only=True)
class KeptFrames:
    """Decoded frames that are kept.

    Args:
        store: Folder of decoded frames, as of `train --store`. What it lacks is decoded, and kept in the background.
            The results are the same with and without it.
        store_size: Size of its frames: HEIGHTxWIDTH in pixels, or native. None takes the run's store_size. Give native
            for a run whose store_size is none.
        store_limit: Most bytes of that folder, such as 200GB; 0 only reads what is kept. None: no limit.
    """

    store: Path | None = None
    store_size: str | None = None
    store_limit: str | None = None

    def of(self, run: TrainedRun) -> TrainedRun:
        """Returns the run with this store. Raises VidsslError if the store shows other frames than the run saw."""
        size = self.store_size
        if self.store is not None:  # before its folder is made
            size = size or run.recipe.store_size
            if size == run.recipe.store_size == "none":
                raise VidsslError(
                    f"store={str(self.store)!r}: the run was trained with store_size=none; add --store-size native, "
                    "which shows the same frames, or leave --store out"
                )
            check_store_size(run.recipe, parse_size(size))
            if not self.store.exists() and parse_bytes(self.store_limit) != 0:
                print(printable(f"store {self.store}: a new folder, in which decoded frames are kept"), flush=True)
        return replace(run, store=open_store(self.store, size, self.store_limit) or run.store)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Videos.

    Args:
        train: Folder, list or index (.arrow) of the training videos; for retrieval, the gallery. With resume, none
            takes those of the fine-tuning.
        test: The test videos; for retrieval, the queries. None tests on the part of train that the run's recipe holds
            out.
        labels: List (.csv: path,label[,group]) that replaces labels and groups. Videos that it does not name are left
            out.
        groups: Regular expression; what it matches in a path is the video's group, such as "[a-z]+(?=_)" in
            bend/daria_bend.avi.
        leave_group_out: Test each group (a person, say) against all the other groups, instead of giving test. A video
            without a group is a group by itself.
        dataset: Evaluate on official splits of this data set, whose videos are in the folder train, and print their
            mean. Results of split N are in RUN/<command>_splitN.json; with out, in detail.splits of that file.
        annotations: Lists of the data set: the folder ucfTrainTestlist or testTrainMulti_7030_splits. None looks for
            them in and beside train.
        splits: Numbers of the official splits.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
        trust_code: Import the code that builds the run's encoder, if it is module:function or file.py:function.
        weights: Which of a run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
            takes the average if the run kept one.
    """

    train: Path | None = None
    test: Path | None = None
    labels: Path | None = None
    groups: str = ""
    leave_group_out: bool = False
    dataset: Literal["ucf101", "hmdb51"] | None = None
    annotations: Path | None = None
    splits: tuple[int, ...] = ALL
    allow_outside: bool = False
    trust_code: bool = False
    weights: Which = "auto"

    @property
    def _train(self) -> Path:
        if self.train is None:
            raise VidsslError(
                "evaluate: train: name the training videos with --train; only a fine-tuning that is resumed takes "
                "those that it recorded"
            )
        return self.train

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """Numbers of the official splits; one None if the videos are split otherwise."""
        return (None,) if self.dataset is None else self.splits

    def evaluate(self, run: TrainedRun, evaluate: Callable[[Splits, Path | None], Result], out: Path | None) -> Result:
        """Evaluates on the videos, or on each official split and their mean.

        Args:
            run: The run. The indexes of the videos are kept in its folder, unless `out` is given.
            evaluate: Evaluates and publishes one split; its arguments are the videos and the JSON file.
            out: JSON file of the result.
        """
        if self.dataset is None:
            return evaluate(_with_seen(self._open(run), run), out)
        found = _OFFICIAL[self.dataset](self._train, self.annotations)
        check_splits(found, self.splits)  # before videos are indexed
        index = self._kept(self._train, run)
        splits = [_with_seen(one, run) for one in official_splits(found, index, self.splits)]
        return evaluate_over_splits(run, splits, evaluate, out=out)

    def recorded(self) -> dict[str, object]:
        """Returns what the record of a fine-tuning says of these: what names its videos, and the run's weights."""
        values = {name: getattr(self, name) for name in _RECORDED}
        return {name: str(one.absolute()) if isinstance(one, Path) else one for name, one in values.items()}

    def as_recorded(self, record: Mapping[str, Any], given: Collection[str], *, where: str) -> Data:
        """Returns the videos of a fine-tuning to resume: those of its record, as far as they are not given here.

        Paths that are given may be others, as videos may have moved; fit refuses other videos.

        Args:
            record: The fine-tuning's record. One of an older version does not say it; all is then as it is here.
            given: Names of the options that are given.
            where: Beginning of an error: the command, the argument and its value.

        Raises:
            VidsslError: Videos are not there any more, the groups are others, or this version cannot read the record.
        """
        then = {name: value for name, value in record.get("finetune_videos", {}).items() if value is not None}
        if "groups" in given and self.groups != then.get("groups", self.groups):
            raise VidsslError(
                f"{where}: groups: {then['groups']!r} in the run, {self.groups!r} here, which may hold out other "
                "videos; leave it out, or move that folder away"
            )
        missing = {name: value for name, value in then.items() if name not in given}
        try:
            found = {name: read(missing[name]) for name, read in _RECORDED.items() if name in missing}
        except (TypeError, ValueError) as error:
            raise VidsslError(f"{where}: its record of the videos cannot be read ({error}); name them") from error
        for name, path in found.items():
            if isinstance(path, Path) and not path.exists():
                raise VidsslError(f"{where}: {name}: {str(path)!r} is not there any more; name it with --{name}")
        return replace(self, **found)

    def _open(self, run: TrainedRun) -> Splits:
        """The indexes, kept in RUN/features."""
        test = None if self.test is None else self._kept(self.test, run)
        return make_splits(
            run.recipe,
            run.trained_on,
            self._kept(self._train, run),
            own=own_indexes(run),
            test=test,
            labels=self.labels,
            groups=self.groups,
            leave_group_out=self.leave_group_out,
        )

    def _kept(self, data: Path, run: TrainedRun) -> VideoIndex:
        return open_kept(data, run.folder, store=run.store, allow_outside=self.allow_outside, keep=run.keeps)

    def run(self, run: Path, frames: KeptFrames, out: Path | None) -> TrainedRun:
        """Loads the run. Raises VidsslError if it is not a run, options contradict, or `out` may not be written."""
        other = self.test or self.labels or self.groups or self.leave_group_out
        if self.dataset is not None and other:
            raise VidsslError(
                f"evaluate: dataset={self.dataset!r}: its lists give the test videos, labels and groups; "
                "leave out test, labels, groups and leave_group_out"
            )
        if self.dataset is None and (self.annotations is not None or self.splits != ALL):
            raise VidsslError(
                f"evaluate: annotations={self.annotations!r}, splits={self.splits}: they belong to a data set; "
                "add dataset, or leave them out"
            )
        check_output(out, ".json", BEGINS)
        _ = self._train  # raises before the run is loaded
        opened = load_run(run, allow_outside=self.allow_outside, trust_code=self.trust_code, weights=self.weights)
        return frames.of(opened).writing_to(out)


def _with_seen(splits: Splits, run: TrainedRun) -> Splits:
    """Returns the videos with which of them the run has seen, as far as it is known."""
    return replace(splits, seen=seen_by(run, splits.test, splits.seen.count))


_OFFICIAL: dict[str, Callable[[Path, Path | None], Dataset]] = {"ucf101": ucf101, "hmdb51": hmdb51}
