"""Training on a pretext task: a recipe and an index in, checkpoints and a log out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.loader.effects import check_effects
from vidssl.models import Encoder
from vidssl.pretext import build_model, check_head
from vidssl.store.frames import FrameStore, parse_size
from vidssl.train.config import Recipe
from vidssl.train.distributed import ProcessGroup, process_group
from vidssl.train.hold import hold_run
from vidssl.train.init import Transfer, read_weights, transfer
from vidssl.train.loggers import need_services
from vidssl.train.optimizer import layer_factors
from vidssl.train.setup import Task, fit, open_run
from vidssl.train.trainer import Stopped, TrainResult
from vidssl.types import VidsslError

__all__ = ["Stopped", "TrainResult", "open_store", "train"]


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
    store: FrameStore | None = None,
    meta: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Trains, or continues to train.

    Args:
        recipe: The pretext task, the encoder and the settings.
        index: The videos; some of them are held out, as the recipe says.
        out: Folder of the run: checkpoints/, metrics.jsonl, run.json, and events for TensorBoard. It must be new or
            empty unless `resume`.
        steps: Where to end, instead of recipe.train.steps.
        resume: Continue from the latest whole checkpoint. On a CPU the bits are those of a run that never stopped.
        device: "auto", "cpu", "cuda" or "cuda:N".
        quiet: Print nothing.
        processes: The process group, if the caller has joined it (vidssl.train.distributed); None joins that of
            torchrun, if there is one.
        store: Frames are taken from this store and kept in it. Its size must be recipe.store_size. None keeps nothing;
            the bits are the same.
        meta: What run.json and meta.json hold beside the recipe.

    Returns:
        Where the run ended.

    Raises:
        VidsslError: Something cannot be trained or resumed.
        Stopped: Ctrl-C, SIGTERM or SIGUSR1; a checkpoint has been written.
    """
    if steps is not None:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    config, pretext = recipe.train, recipe.pretext
    build = partial(build_model, pretext, recipe.encoder, slotwise_bn=config.slotwise_bn, **config.built)
    init = partial(_begin, recipe) if recipe.init is not None else None
    frames = open_store(recipe, store)
    loader = partial(Loader, store=frames) if frames is not None else Loader
    task = Task(
        recipe=recipe,
        plan=pretext.plan,
        build=build,
        objectives=pretext.objectives,
        init=init,
        loader=loader,
        meta=meta or {},
    )
    with ExitStack() as stack:
        if processes is None:
            processes = stack.enter_context(process_group(device))
        stack.enter_context(hold_run(out, resume=resume, process_group=processes))
        start = open_run(out, resume=resume, process_group=processes)
        return fit(task, index, out, start=start, process_group=processes, quiet=quiet)


def check_model(recipe: Recipe) -> None:
    """Raises VidsslError if there is no such encoder, clips do not fit it, it cannot begin with recipe.init, or
    has no layers for layer_decay, if the head of the task does not fit, or if the effects of the clips cannot be made.
    """
    check_effects(recipe.pretext.plan)
    with torch.device("meta"):
        encoder = build_model(recipe.pretext, recipe.encoder, **recipe.train.built).encoder
    check_head(recipe.pretext.head(encoder.features), recipe.pretext, encoder.features)
    layer_factors(encoder, recipe.train.layer_decay)
    need_services(recipe.train.log)
    if recipe.init is not None:
        _begin(recipe, encoder)


def _begin(recipe: Recipe, encoder: Encoder) -> Transfer:
    """Gives a new encoder the weights that the recipe names."""
    return transfer(encoder, read_weights(Path(recipe.init or "")), fresh=recipe.fresh or ())


def open_store(recipe: Recipe, store: FrameStore | None) -> FrameStore | None:
    """Returns the store that a run of a recipe reads: `store`, or one that keeps nothing; None without a store size.

    Raises:
        VidsslError: The size of `store` is not that of the recipe.
    """
    if store is None:
        return FrameStore(None, parse_size(recipe.store_size)) if recipe.store_size != "none" else None
    if store.size_text != recipe.store_size:
        raise VidsslError(
            f"train: store: it keeps frames of {store.size_text}, but the recipe has store_size={recipe.store_size}; "
            "make both the same"
        )
    return store
