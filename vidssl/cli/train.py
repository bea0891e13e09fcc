"""The subcommand `train`: one command for each recipe, with every setting of the recipe as an option."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import Data, given, subcommand, value_of
from vidssl.cli.store_data import open_data_and_store, say_read
from vidssl.pretext import join
from vidssl.recipes import RECIPES
from vidssl.store.choose import Name
from vidssl.train.config import Recipe
from vidssl.train.data_sets import parse_data
from vidssl.train.distributed import process_group
from vidssl.train.hold import hold_run
from vidssl.train.recorded import TRAIN, about, read_record, settings_of, videos_of
from vidssl.train.setup import open_run
from vidssl.train.train import check_model, train
from vidssl.types import VidsslError

_ARGS = """

Args:
    data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), or index (.arrow). Several are mixed, each in
        proportion to its weight: --data a.arrow:2 --data b.arrow:1. With resume, none takes the run's.
    out: Folder of the run: checkpoints, metrics.jsonl, events for TensorBoard.
    pretext: Names of tasks to learn together, such as vcop,pace: one encoder, one window and a head for each. A task of
        your own is module:Class or path/to/file.py:Class; alone, its fields are options in the place of those of the
        recipe's task, also in --help. The task of the recipe keeps its settings, and others take those that they share
        with it. None learns the recipe's alone.
    task_weights: Factor of the loss of each of these tasks; () is 1 for each.
    resume: Continue the run in OUT from its latest checkpoint. What is not given is as in the run. Other steps (not
        with schedule=cosine, whose learning rates depend on the last step), workers, intervals of the log and so on may
        be given; a setting that would change what is learnt is refused.
    device: Where to compute; auto takes a GPU if there is one.
    store: Folder that keeps decoded frames of the recipe's store_size, for later epochs and runs.
    store_limit: Most bytes of that folder, such as 200GB; 0 only reads what is kept. None: no limit.
    store_backend: Where kept frames lie: file (read when needed), memory (locked there, one copy for all processes), or
        device (in the memory of each GPU, as far as they fit). auto takes the last of these that holds them all.
    allow_outside: Also accept an index (.arrow) that names files outside of its root.
    trust_code: With resume, import the code that the run names: an encoder or a task that is module:name or
        file.py:name. It need not be said of code that is given again.
"""


def commands() -> dict[str, Callable[..., None]]:
    """Returns a command for every recipe, by name."""
    return {
        name: _command(name, _with_own(name, make()), cleandoc(make.__doc__ or "")) for name, make in RECIPES.items()
    }


def _with_own(name: str, recipe: Recipe) -> Recipe:
    """Returns the recipe that is called with the task of one's own that --pretext names: its fields are options then.

    Several tasks are joined later, from their defaults.
    """
    code = value_of("pretext")
    if name != subcommand() or code is None or ":" not in code or "," in code:
        return recipe
    return replace(recipe, pretext=join(recipe.pretext, [code]))


def _command(name: str, default: Recipe, doc: str) -> Callable[..., None]:
    def command(
        out: Path,
        data: Data = (),
        settings: Recipe = default,
        *,
        pretext: str | None = None,
        task_weights: tuple[float, ...] = (),
        resume: bool = False,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        store: Path | None = None,
        store_limit: str | None = None,
        store_backend: Name = "auto",
        allow_outside: bool = False,
        trust_code: bool = False,
    ) -> None:
        settings = _with_tasks(settings, pretext, task_weights)
        sets = parse_data(data)
        if not sets and not resume:
            raise VidsslError("train: data: name the videos with --data; only with --resume are they the run's")
        with process_group(device) as processes, hold_run(out, resume=resume, process_group=processes):
            # All of these raise before videos are indexed.
            start = open_run(out, resume=resume, process_group=processes, quiet=True)
            if resume:
                record = processes.run_on_first(partial(read_record, out))
                where = f"train: resume: out={str(out)!r}"
                settings = settings_of(
                    record, settings, name, given(), where=where, fix=TRAIN.hint, trust_code=trust_code
                )
                sets = sets or videos_of(record, out, where=where)
            if start is None:
                processes.run_on_first(partial(check_model, settings))
            index, frames = processes.run_in_turns(
                partial(
                    open_data_and_store,
                    settings,
                    sets,
                    out,
                    store,
                    store_limit,
                    store_backend,
                    allow_outside=allow_outside,
                    quiet=not processes.is_first,
                )
            )
            train(settings, index, out, resume=resume, processes=processes, store=frames, meta=about(name, sets))
            if processes.is_first:
                say_read(frames)

    command.__doc__ = doc + _ARGS
    return command


def _with_tasks(recipe: Recipe, pretext: str | None, weights: tuple[float, ...]) -> Recipe:
    """Returns a recipe with the tasks that --pretext names in the place of its own."""
    if pretext is not None:
        return replace(recipe, pretext=join(recipe.pretext, [name.strip() for name in pretext.split(",")], weights))
    if weights:
        raise VidsslError(f"task_weights={weights}: name the tasks with --pretext, or leave it out")
    return recipe
