"""The subcommand `audit`: one command per recipe, with every setting of the recipe as an option."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.store_data import open_data_and_store, say_read
from vidssl.evaluate.audit import audit, made_folder
from vidssl.recipes import RECIPES
from vidssl.train.checkpoint import locate
from vidssl.train.config import Recipe

_ARGS = """

Args:
    data: Folder of videos, or an index (.arrow). With run, the videos that it was trained on.
    run: Folder of a run of this recipe, or one of its checkpoints, to test on the same tuples.
    out: Folder for audit.json and audit.png; None only prints.
    tuples: Number of tuples to train on, and number to test on.
    device: Where the run's model computes.
    store: Folder that keeps decoded frames of the recipe's store_size; what it lacks is decoded, and kept in it.
    store_limit: Most bytes of that folder, such as 200GB; 0 only reads what is kept. None: no limit.
    allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
"""


def commands() -> dict[str, Callable[..., None]]:
    """The commands of all recipes, by name."""
    return {name: _command(name, make(), cleandoc(make.__doc__ or "")) for name, make in RECIPES.items()}


def _command(name: str, default: Recipe, doc: str) -> Callable[..., None]:
    def command(
        data: Path,
        settings: Recipe = default,
        *,
        run: Path | None = None,
        out: Path | None = None,
        tuples: int = 1000,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        store: Path | None = None,
        store_limit: str | None = None,
        allow_outside: bool = False,
    ) -> None:
        where = locate(run, allow_outside=allow_outside)[0] if run is not None else out
        with made_folder(out):  # report a wrong run or folder before indexing the videos
            index, frames = open_data_and_store(settings, data, where, store, store_limit, allow_outside=allow_outside)
            found = audit(settings, index, name=name, run=run, tuples=tuples, device=device, out=out, store=frames)
        print(found.text())
        say_read(frames)
        if out is not None:
            print(f"wrote {out / 'audit.json'} and {out / 'audit.png'}")

    command.__doc__ = doc + _ARGS
    return command
