"""The subcommand `train`: one command for each recipe, with every setting of the recipe as an option."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.store_data import open_data_and_store, say_read
from vidssl.recipes import RECIPES
from vidssl.store.choose import Name
from vidssl.train.config import Recipe
from vidssl.train.distributed import process_group
from vidssl.train.hold import hold_run
from vidssl.train.setup import open_run
from vidssl.train.train import check_first_weights, train

_ARGS = """

Args:
    data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), or index (.arrow).
    out: Folder of the run: checkpoints, metrics.jsonl, tensorboard.
    resume: Continue the run in OUT from its latest checkpoint.
    device: Where to compute; auto takes a GPU if there is one.
    store: Folder that keeps decoded frames of the recipe's store_size, for later epochs and runs.
    store_limit: Most bytes of that folder, such as 200GB; 0 only reads what is kept. None: no limit.
    store_backend: Where kept frames lie: file (read when needed), memory (locked there, one copy for all processes), or
        device (in the memory of each GPU, as far as they fit). auto takes the last of these that holds them all.
    allow_outside: Also accept an index (.arrow) that names files outside of its root.
"""


def commands() -> dict[str, Callable[..., None]]:
    """Returns a command for every recipe, by name."""
    return {name: _command(make(), cleandoc(make.__doc__ or "")) for name, make in RECIPES.items()}


def _command(default: Recipe, doc: str) -> Callable[..., None]:
    def command(
        data: Path,
        out: Path,
        settings: Recipe = default,
        *,
        resume: bool = False,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        store: Path | None = None,
        store_limit: str | None = None,
        store_backend: Name = "auto",
        allow_outside: bool = False,
    ) -> None:
        with process_group(device) as processes, hold_run(out, resume=resume, process_group=processes):
            # Both raise before videos are indexed.
            if open_run(out, resume=resume, process_group=processes, quiet=True) is None:
                processes.run_on_first(partial(check_first_weights, settings))
            with processes.first_before_others():
                index, frames = open_data_and_store(
                    settings,
                    data,
                    out,
                    store,
                    store_limit,
                    store_backend,
                    allow_outside=allow_outside,
                    quiet=not processes.is_first,
                )
            train(settings, index, out, resume=resume, processes=processes, store=frames)
            if processes.is_first:
                say_read(frames)

    command.__doc__ = doc + _ARGS
    return command
