"""Training on a pretext task: a recipe and an index in, checkpoints and a log out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from vidssl.index.table import VideoIndex
from vidssl.models import Encoder
from vidssl.pretext import build_model
from vidssl.train.config import Recipe
from vidssl.train.distributed import ProcessGroup, process_group
from vidssl.train.hold import hold_run
from vidssl.train.init import Transfer, read_weights, transfer
from vidssl.train.setup import Task, fit, open_run
from vidssl.train.trainer import Stopped, TrainResult

__all__ = ["Stopped", "TrainResult", "train"]


def train(
    recipe: Recipe,
    index: VideoIndex,
    out: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
    processes: ProcessGroup | None = None,
) -> TrainResult:
    """Trains, or continues to train.

    Args:
        recipe: The pretext task, the encoder and the settings.
        index: The videos; some of them are held out, as the recipe says.
        out: Folder of the run: checkpoints/, tensorboard/, metrics.jsonl and run.json. It must be new or empty unless
            `resume`.
        steps: Where to end, instead of recipe.train.steps.
        resume: Continue from the latest whole checkpoint. On a CPU the bits are those of a run that never stopped.
        device: "auto", "cpu", "cuda" or "cuda:N".
        quiet: Print nothing.
        processes: The process group, if the caller has joined it (vidssl.train.distributed); None joins that of
            torchrun, if there is one.

    Returns:
        Where the run ended.

    Raises:
        VidsslError: Something cannot be trained or resumed.
        Stopped: Ctrl-C or SIGTERM; a checkpoint has been written.
    """
    if steps is not None:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    config, pretext = recipe.train, recipe.pretext
    build = partial(build_model, pretext, recipe.encoder, slotwise_bn=config.slotwise_bn, norm=config.norm)
    init = partial(_begin, recipe) if recipe.init is not None else None
    task = Task(recipe=recipe, plan=pretext.plan, build=build, class_names=pretext.class_names, init=init)
    with ExitStack() as stack:
        if processes is None:
            processes = stack.enter_context(process_group(device))
        stack.enter_context(hold_run(out, resume=resume, process_group=processes))
        start = open_run(out, resume=resume, process_group=processes)
        return fit(task, index, out, start=start, process_group=processes, quiet=quiet)


def check_first_weights(recipe: Recipe) -> None:
    """Raises VidsslError if the encoder cannot begin with the weights of recipe.init; nothing is trained."""
    if recipe.init is not None:
        with torch.device("meta"):
            encoder = build_model(recipe.pretext, recipe.encoder, norm=recipe.train.norm).encoder
        _begin(recipe, encoder)


def _begin(recipe: Recipe, encoder: Encoder) -> Transfer:
    """Gives a new encoder the weights that the recipe names."""
    return transfer(encoder, read_weights(Path(recipe.init or "")), fresh=recipe.fresh or ())
