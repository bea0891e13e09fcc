"""The subcommands of `evaluate`: one shape for all of them. Their docstrings are the help texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vidssl.cli.data import open_kept
from vidssl.cli.store import open_store, say_read
from vidssl.datasets import Dataset, hmdb51, ucf101
from vidssl.evaluate.accuracy import evaluate_pretext
from vidssl.evaluate.attentive import Attentive, evaluate_attentive
from vidssl.evaluate.complement import evaluate_complement
from vidssl.evaluate.finetune import (
    FineTune,
    check_first_weights,
    evaluate_finetune,
    finetune_folder,
    open_finetuned,
)
from vidssl.evaluate.over_splits import check_splits, evaluate_over_splits, official_splits
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.published import finetune_opn
from vidssl.evaluate.result import BEGINS, Result
from vidssl.evaluate.retrieval import KS, evaluate_retrieval
from vidssl.evaluate.run import TrainedRun, View, check_store_size, load_run
from vidssl.evaluate.splits import Splits, make_splits, with_groups, with_labels
from vidssl.evaluate.time import evaluate_time
from vidssl.paths import check_output
from vidssl.store.frames import parse_size
from vidssl.types import VidsslError

Device = Literal["auto", "cpu", "cuda"]
ALL = (1, 2, 3)  # the official splits of UCF101 and HMDB51


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
        return replace(run, store=open_store(self.store, size, self.store_limit) or run.store)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Videos.

    Args:
        train: Folder, list or index (.arrow) of the training videos; for retrieval, the gallery.
        test: The test videos; for retrieval, the queries. None tests on the part of train that the run's recipe holds
            out.
        labels: List (.csv: path,label[,group]) that replaces labels and groups. Videos that it does not name are left
            out.
        groups: Regular expression; what it matches in a path is the video's group, such as "[a-z]+(?=_)" in
            bend/daria_bend.avi.
        leave_group_out: Test each group (a person, say) against all the other groups, instead of giving test. A video
            without a group is a group by itself.
        dataset: Evaluate on official splits of this data set, whose videos are in the folder train, and print their
            mean. Results of split N are in RUN/<command>_splitN.json.
        annotations: Lists of the data set: the folder ucfTrainTestlist or testTrainMulti_7030_splits. None looks for
            them in and beside train.
        splits: Numbers of the official splits.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
    """

    train: Path
    test: Path | None = None
    labels: Path | None = None
    groups: str = ""
    leave_group_out: bool = False
    dataset: Literal["ucf101", "hmdb51"] | None = None
    annotations: Path | None = None
    splits: tuple[int, ...] = ALL
    allow_outside: bool = False

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """Numbers of the official splits; one None if the videos are split otherwise."""
        return (None,) if self.dataset is None else self.splits

    def evaluate(self, run: TrainedRun, evaluate: Callable[[Splits, Path | None], Result], out: Path | None) -> Result:
        """Evaluates on the videos, or on each official split and their mean.

        Args:
            run: The run. The indexes of the videos are kept in its folder.
            evaluate: Evaluates and publishes one split; its arguments are the videos and the JSON file.
            out: JSON file of the result.
        """
        if self.dataset is None:
            return evaluate(self._open(run), out)
        found = _OFFICIAL[self.dataset](self.train, self.annotations)
        check_splits(found, self.splits)  # before videos are indexed
        index = open_kept(self.train, run.folder, store=run.store, allow_outside=self.allow_outside)
        splits = official_splits(found, index, self.splits)
        return evaluate_over_splits(run, splits, lambda one: evaluate(one, None), out=out)

    def _open(self, run: TrainedRun) -> Splits:
        """The indexes, kept in RUN/features."""
        test = (
            None
            if self.test is None
            else open_kept(self.test, run.folder, store=run.store, allow_outside=self.allow_outside)
        )
        return make_splits(
            run.recipe,
            run.meta["data"],
            open_kept(self.train, run.folder, store=run.store, allow_outside=self.allow_outside),
            test=test,
            labels=self.labels,
            groups=self.groups,
            leave_group_out=self.leave_group_out,
        )

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
        return frames.of(load_run(run, allow_outside=self.allow_outside))


_OFFICIAL: dict[str, Callable[[Path, Path | None], Dataset]] = {"ucf101": ucf101, "hmdb51": hmdb51}
_WHOLE, _TIME, _TUNE = View(), View(clips=4), FineTune()
_ATTENTIVE, _FRAMES = Attentive(), KeptFrames()


def retrieval(
    run: Positional[Path],
    data: Data,
    view: View = _WHOLE,
    frames: KeptFrames = _FRAMES,
    *,
    ks: tuple[int, ...] = KS,
    drop_last: bool = False,
    pictures: int = 6,
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """Is one of the k nearest videos of the same class? Compares the trained encoder with the untrained
    one of the same seed, and with chance.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. Features are cached in it.
        ks: Numbers of neighbours.
        drop_last: Leave out the last videos of queries and gallery if they do not fill a batch of 8, as VCOP's
            published code does.
        pictures: Largest number of correct queries, and of wrong ones, in RUN/retrieval.png.
        device: Where to compute.
        out: JSON file to write; None writes RUN/retrieval.json.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_retrieval(
            opened, splits, view=view, ks=ks, drop_last=drop_last, pictures=pictures, device=device, out=out
        )

    _print(data.evaluate(opened, evaluate, out), opened)


def probe(
    run: Positional[Path],
    data: Data,
    view: View = _WHOLE,
    frames: KeptFrames = _FRAMES,
    *,
    ks: tuple[int, ...] = (1, 5),
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """Can a linear model, or k-NN, classify frozen features? Compares the trained encoder with the untrained one.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. Features are cached in it.
        ks: Numbers of neighbours that vote.
        device: Where to compute.
        out: JSON file to write; None writes RUN/probe.json.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_probe(opened, splits, view=view, ks=ks, device=device, out=out)

    _print(data.evaluate(opened, evaluate, out), opened)


def attentive(
    run: Positional[Path],
    data: Data,
    how: Attentive = _ATTENTIVE,
    view: View = _TIME,
    frames: KeptFrames = _FRAMES,
    *,
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """Can a small transformer classify the last map of the frozen encoder? It learns where and when to look, which the
    mean of the map has lost. Compares the trained encoder with the untrained one.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        device: Where to compute.
        out: JSON file to write; None writes RUN/attentive.json.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_attentive(opened, splits, how, view=view, device=device, out=out)

    _print(data.evaluate(opened, evaluate, out), opened)


_FINETUNE_DOC = """How accurate is the encoder after further training with labels?

It begins with the weights of the run's checkpoint, from scratch, or with other weights (--init).
"""
_FINETUNE_ARGS = """

Args:
    run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. The new run is in
        RUN/finetune/<init>, or in RUN/finetune/<init>_splitN. With a path as init, <init> is from_NAME.
    resume: Continue a fine-tuning that was stopped. Official splits that were trained are only tested again.
    device: Where to compute.
    out: JSON file to write; None writes RUN/finetune.json, RUN/finetune_scratch.json, or RUN/finetune_from_<init>.json.
"""


def _finetune(default: FineTune, doc: str) -> Callable[..., None]:
    """Returns a command that fine-tunes with these settings unless they are given."""

    def finetune(
        run: Positional[Path],
        data: Data,
        how: FineTune = default,
        frames: KeptFrames = _FRAMES,
        *,
        resume: bool = False,
        device: Device = "auto",
        out: Path | None = None,
    ) -> None:
        opened = data.run(run, frames, out)
        folders = {number: finetune_folder(opened, how, number) for number in data.numbers}
        begun = {number for number, folder in folders.items() if (folder / "run.json").is_file()}
        going_on = (
            begun if resume and begun else set(data.numbers) if resume else set()
        )  # splits may not have begun yet
        for number, folder in folders.items():  # report a wrong folder, or wrong weights, before indexing the videos
            if open_finetuned(folder, resume=number in going_on) is None:
                check_first_weights(opened, how)

        def evaluate(splits: Splits, out: Path | None) -> Result:
            return evaluate_finetune(opened, splits, how, resume=splits.number in going_on, device=device, out=out)

        _print(data.evaluate(opened, evaluate, out), opened)

    finetune.__doc__ = cleandoc(doc) + _FINETUNE_ARGS
    return finetune


def complement(
    run: Positional[Path],
    data: Data,
    other: str,
    view: View = _WHOLE,
    frames: KeptFrames = _FRAMES,
    *,
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """Do the run's features add anything to others, such as a supervised model's? Probes each set and both together,
    and counts how their errors overlap.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. Features are cached in it.
        other: Features file (.safetensors: tensor "feature" [V, D], metadata "paths", a JSON list), or module:function
            that returns a torch module and the vidssl.evaluate.features.Clips that it expects.
        device: Where to compute.
        out: JSON file to write; None writes RUN/complement.json.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_complement(opened, splits, other, view=view, device=device, out=out)

    _print(data.evaluate(opened, evaluate, out), opened)


def pretext(
    run: Positional[Path],
    test: Path,
    frames: KeptFrames = _FRAMES,
    *,
    tuples: int = 4,
    device: Device = "auto",
    out: Path | None = None,
    allow_outside: bool = False,
) -> None:
    """How accurate is the run in its own pretext task on other videos? Compares it with the untrained model.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        test: Folder, list or index (.arrow) of the videos, which need no labels.
        tuples: Tuples of each video's middle window.
        device: Where to compute.
        out: JSON file to write; None writes RUN/pretext.json.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
    """
    check_output(out, ".json", BEGINS)
    opened = frames.of(load_run(run, allow_outside=allow_outside))
    index = open_kept(test, opened.folder, store=opened.store, allow_outside=allow_outside)
    _print(evaluate_pretext(opened, index, tuples=tuples, device=device, out=out), opened)


def time(
    run: Positional[Path],
    data: Path,
    view: View = _TIME,
    frames: KeptFrames = _FRAMES,
    *,
    labels: Path | None = None,
    groups: str = "",
    pairs: tuple[str, ...] = (),
    device: Device = "auto",
    out: Path | None = None,
    allow_outside: bool = False,
) -> None:
    """Do the features know in which direction, in which order and how fast a clip is played? Compares linear probes on
    the trained encoder, the untrained one and low-level cues. Needs no labels; with labels, it also shows how much of
    the class is read from the order.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        data: Folder, list or index (.arrow) of the videos. Probes learn on some of them and are tested on others.
        labels: List (.csv: path,label[,group]) that replaces labels and groups. Videos that it does not name are left
            out.
        groups: Regular expression; what it matches in a path is the video's group.
        pairs: Pairs of classes that differ by time alone, as FIRST:SECOND, such as sit:stand.
        device: Where to compute.
        out: JSON file to write; None writes RUN/time.json.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
    """
    check_output(out, ".json", BEGINS)
    named = [tuple(pair.split(":")) for pair in pairs]
    if wrong := [pair for pair, names in zip(pairs, named, strict=True) if len(names) != 2]:
        raise VidsslError(f"evaluate time: pairs={wrong[0]!r}: take FIRST:SECOND, two classes")
    opened = frames.of(load_run(run, allow_outside=allow_outside))
    index = open_kept(data, opened.folder, store=opened.store, allow_outside=allow_outside)
    index = with_groups(with_labels(index, labels) if labels else index, groups)
    two = [(names[0], names[1]) for names in named]
    _print(evaluate_time(opened, index, pairs=two, view=view, device=device, out=out), opened)


def commands() -> dict[str, Callable[..., None]]:
    """The commands, by name."""
    return {
        "retrieval": retrieval,
        "probe": probe,
        "attentive": attentive,
        "finetune": _finetune(_TUNE, _FINETUNE_DOC),
        **{make.__name__: _finetune(make(), make.__doc__ or "") for make in (finetune_opn,)},
        "complement": complement,
        "pretext": pretext,
        "time": time,
    }


def _print(result: Result, run: TrainedRun) -> None:
    print(result.text())
    say_read(run.store)
