"""The subcommands of `evaluate`: one shape for all of them. Their docstrings are the help texts."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import RunPath, given
from vidssl.cli.data import open_kept
from vidssl.cli.evaluate_data import Data, KeptFrames
from vidssl.cli.store_data import say_read
from vidssl.evaluate.accuracy import evaluate_pretext
from vidssl.evaluate.attentive import Attentive, check_view, evaluate_attentive
from vidssl.evaluate.complement import evaluate_complement
from vidssl.evaluate.finetune import (
    FineTune,
    check_first_weights,
    evaluate_finetune,
    finetune_folder,
    open_finetuned,
)
from vidssl.evaluate.finetune_recorded import find_begun, has_begun, settings_of
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.published import finetune_opn
from vidssl.evaluate.result import BEGINS, Result
from vidssl.evaluate.retrieval import KS, evaluate_retrieval
from vidssl.evaluate.run import TrainedRun, View, load_run
from vidssl.evaluate.scaling import Scaling
from vidssl.evaluate.seen import own_indexes
from vidssl.evaluate.splits import Splits, make_splits, with_groups, with_labels
from vidssl.evaluate.time import evaluate_time
from vidssl.paths import check_output
from vidssl.train.checkpoint import Which, locate
from vidssl.train.recorded import read_record
from vidssl.types import VidsslError

Device = Literal["auto", "cpu", "cuda"]
_WHOLE, _TIME, _TUNE = View(), View(clips=4), FineTune()
_ATTENTIVE, _FRAMES = Attentive(), KeptFrames()


def retrieval(
    run: RunPath,
    data: Data,
    view: View = _WHOLE,
    frames: KeptFrames = _FRAMES,
    *,
    ks: tuple[int, ...] = KS,
    scaling: Scaling = "none",
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
        scaling: How features are rescaled before they are compared, by statistics of the training videos: none (as
            published), centre, standardise, or whiten.
        drop_last: Leave out the last videos of queries and gallery if they do not fill a batch of 8, as VCOP's
            published code does.
        pictures: Largest number of correct queries, and of wrong ones, in RUN/retrieval.png; none is drawn with out.
        device: Where to compute.
        out: JSON file, then all that is written; None writes RUN/retrieval.json and adds to RUN's TensorBoard.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_retrieval(
            opened,
            splits,
            view=view,
            ks=ks,
            scaling=scaling,
            drop_last=drop_last,
            pictures=pictures,
            device=device,
            out=out,
        )

    _print(data.evaluate(opened, evaluate, out), opened)


def probe(
    run: RunPath,
    data: Data,
    view: View = _WHOLE,
    frames: KeptFrames = _FRAMES,
    *,
    ks: tuple[int, ...] = (1, 5),
    scaling: Scaling = "none",
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """Can a linear model, or k-NN, classify frozen features? Compares the trained encoder with the untrained one.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. Features are cached in it.
        ks: Numbers of neighbours that vote.
        scaling: How features are rescaled before k-NN, by statistics of the training videos: none, centre, standardise,
            or whiten. The linear probe always standardises them.
        device: Where to compute.
        out: JSON file, then all that is written; None writes RUN/probe.json and adds to RUN's TensorBoard.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_probe(opened, splits, view=view, ks=ks, scaling=scaling, device=device, out=out)

    _print(data.evaluate(opened, evaluate, out), opened)


def attentive(
    run: RunPath,
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
        out: JSON file, then all that is written; None writes RUN/attentive.json and adds to RUN's TensorBoard.
    """
    check_view(view)  # before videos are indexed
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
    resume: Continue a fine-tuning that was stopped: that of RUN, init and dataset. What else is not given is as it was.
        Other steps (not with schedule=cosine), workers, intervals of the log and so on may be given, and clips, crops
        and select; another setting is refused. Official splits that were trained are only tested again.
    device: Where to compute.
    out: JSON file of the result; None writes RUN/finetune.json, RUN/finetune_scratch.json, or
        RUN/finetune_from_<init>.json, and into RUN's TensorBoard. The new run is in RUN/finetune all the same.
"""


def _finetune(default: FineTune, doc: str) -> Callable[..., None]:
    """Returns a command that fine-tunes with these settings unless they are given."""

    def finetune(
        run: RunPath,
        data: Data,
        how: FineTune = default,
        frames: KeptFrames = _FRAMES,
        *,
        resume: bool = False,
        device: Device = "auto",
        out: Path | None = None,
    ) -> None:
        if resume:
            data, how = _go_on(run, data, how)
        opened = data.run(run, frames, out)
        folders = {number: finetune_folder(opened.folder, how, number) for number in data.numbers}
        # Of several splits, the last may not have begun yet.
        going_on = {number for number, folder in folders.items() if resume and has_begun(folder)}
        for number, folder in folders.items():  # report a wrong folder, or wrong weights, before indexing the videos
            if open_finetuned(folder, resume=number in going_on) is None:
                check_first_weights(opened, how)

        def evaluate(splits: Splits, out: Path | None) -> Result:
            return evaluate_finetune(
                opened,
                splits,
                how,
                resume=splits.number in going_on,
                device=device,
                out=out,
                meta={"finetune_videos": data.recorded()},
            )

        _print(data.evaluate(opened, evaluate, out), opened)

    finetune.__doc__ = cleandoc(doc) + _FINETUNE_ARGS
    return finetune


def _go_on(run: Path, data: Data, how: FineTune) -> tuple[Data, FineTune]:
    """Returns videos and settings of a fine-tuning to resume: what is not given is as in its record."""
    folder, _ = locate(run, allow_outside=data.allow_outside)
    begun = find_begun(folder, how, data.numbers)
    record, where = read_record(begun), f"finetune: resume: {str(begun)!r}"
    how = settings_of(record, how, given(), where=where, trust_code=data.trust_code)
    return data.as_recorded(record, given(), where=where), how


def complement(
    run: RunPath,
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
        out: JSON file, then all that is written; None writes RUN/complement.json and adds to RUN's TensorBoard.
    """
    opened = data.run(run, frames, out)

    def evaluate(splits: Splits, out: Path | None) -> Result:
        return evaluate_complement(opened, splits, other, view=view, device=device, out=out)

    _print(data.evaluate(opened, evaluate, out), opened)


def pretext(
    run: RunPath,
    frames: KeptFrames = _FRAMES,
    *,
    train: Path | None = None,
    test: Path | None = None,
    tuples: int = 4,
    device: Device = "auto",
    out: Path | None = None,
    allow_outside: bool = False,
    trust_code: bool = False,
    weights: Which = "auto",
) -> None:
    """How accurate is the run in its own pretext task on other videos? Compares it with the untrained model.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints.
        train: Folder, list or index (.arrow) of the training videos, of which those are tested that the run held out.
        test: Folder, list or index (.arrow) of other videos to test, in the place of train. They need no labels.
        tuples: Tuples of each video's middle window.
        device: Where to compute.
        out: JSON file, then all that is written; None writes RUN/pretext.json and adds to RUN's TensorBoard.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
        trust_code: Import the code that builds the run's encoder, if it is module:function or file.py:function.
        weights: Which of a run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
            takes the average if the run kept one.
    """
    check_output(out, ".json", BEGINS)
    data = train or test
    if data is None or (train and test):
        raise VidsslError(
            f"evaluate: train={train and str(train)!r}, test={test and str(test)!r}: name the training videos with "
            "--train, of which those are tested that the run held out, or other videos with --test"
        )
    opened = load_run(run, allow_outside=allow_outside, trust_code=trust_code, weights=weights)
    opened = frames.of(opened).writing_to(out)
    index = open_kept(data, opened.folder, store=opened.store, allow_outside=allow_outside, keep=opened.keeps)
    held = make_splits(opened.recipe, opened.trained_on, index, own=own_indexes(opened)) if train else None
    result = evaluate_pretext(
        opened,
        held.test if held else index,
        tuples=tuples,
        device=device,
        out=out,
        split=held.description if held else None,
    )
    _print(result, opened)


def time(
    run: RunPath,
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
    trust_code: bool = False,
    weights: Which = "auto",
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
        out: JSON file, then all that is written; None writes RUN/time.json and adds to RUN's TensorBoard.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
        trust_code: Import the code that builds the run's encoder, if it is module:function or file.py:function.
        weights: Which of a run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
            takes the average if the run kept one.
    """
    check_output(out, ".json", BEGINS)
    named = [tuple(pair.split(":")) for pair in pairs]
    if wrong := [pair for pair, names in zip(pairs, named, strict=True) if len(names) != 2]:
        raise VidsslError(f"evaluate time: pairs={wrong[0]!r}: take FIRST:SECOND, two classes")
    opened = load_run(run, allow_outside=allow_outside, trust_code=trust_code, weights=weights)
    opened = frames.of(opened).writing_to(out)
    index = open_kept(data, opened.folder, store=opened.store, allow_outside=allow_outside, keep=opened.keeps)
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
