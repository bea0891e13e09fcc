"""The subcommands of `evaluate`: one shape for all of them. Their docstrings are the help texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from vidssl.cli.data import open_kept
from vidssl.evaluate.complement import evaluate_complement
from vidssl.evaluate.finetune import FineTune, evaluate_finetune, open_finetuned
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.result import BEGINS, Result
from vidssl.evaluate.retrieval import KS, evaluate_retrieval
from vidssl.evaluate.run import TrainedRun, View, load_run
from vidssl.evaluate.splits import Splits, make_splits
from vidssl.paths import check_output, output_path

Device = Literal["auto", "cpu", "cuda"]


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
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
    """

    train: Path
    test: Path | None = None
    labels: Path | None = None
    groups: str = ""
    leave_group_out: bool = False
    allow_outside: bool = False

    def open(self, run: TrainedRun) -> Splits:
        """The indexes, kept in RUN/features."""
        test = None if self.test is None else open_kept(self.test, run.folder, allow_outside=self.allow_outside)
        return make_splits(
            run.recipe,
            run.meta["data"],
            open_kept(self.train, run.folder, allow_outside=self.allow_outside),
            test=test,
            labels=self.labels,
            groups=self.groups,
            leave_group_out=self.leave_group_out,
        )

    def run(self, run: Path, out: Path | None) -> TrainedRun:
        """Loads the run. Raises VidsslError if it is not a run, or if `out` may not be written."""
        check_output(out, ".json", BEGINS)
        return load_run(run, allow_outside=self.allow_outside)


_WHOLE, _TUNE = View(), FineTune()


def retrieval(
    run: Positional[Path],
    data: Data,
    view: View = _WHOLE,
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
    opened = data.run(run, out)
    _print(
        evaluate_retrieval(
            opened, data.open(opened), view=view, ks=ks, drop_last=drop_last, pictures=pictures, device=device, out=out
        )
    )


def probe(
    run: Positional[Path],
    data: Data,
    view: View = _WHOLE,
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
    opened = data.run(run, out)
    _print(evaluate_probe(opened, data.open(opened), view=view, ks=ks, device=device, out=out))


def finetune(
    run: Positional[Path],
    data: Data,
    how: FineTune = _TUNE,
    *,
    resume: bool = False,
    device: Device = "auto",
    out: Path | None = None,
) -> None:
    """How accurate is the encoder after further training with labels? Starts at the run's checkpoint, or from scratch.

    Args:
        run: Folder of a run, whose latest checkpoint is taken, or one of its checkpoints. The new run is in
            RUN/finetune/<init>.
        resume: Continue a fine-tuning that was stopped.
        device: Where to compute.
        out: JSON file to write; None writes RUN/finetune.json, or RUN/finetune_scratch.json.
    """
    opened = data.run(run, out)
    # Report a wrong folder before indexing the videos.
    open_finetuned(output_path(opened.folder, f"finetune/{how.init}"), resume=resume)
    _print(evaluate_finetune(opened, data.open(opened), how, resume=resume, device=device, out=out))


def complement(
    run: Positional[Path],
    data: Data,
    other: str,
    view: View = _WHOLE,
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
    opened = data.run(run, out)
    _print(evaluate_complement(opened, data.open(opened), other, view=view, device=device, out=out))


def commands() -> dict[str, Callable[..., None]]:
    """The commands, by name."""
    return {"retrieval": retrieval, "probe": probe, "finetune": finetune, "complement": complement}


def _print(result: Result) -> None:
    print(result.text())
