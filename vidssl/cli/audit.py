"""The subcommand `audit`: one command per recipe, with every setting of the recipe as an option."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import Data, given
from vidssl.cli.store_data import open_data_and_store, say_read
from vidssl.evaluate.audit import audit, made_folder
from vidssl.recipes import RECIPES
from vidssl.train.checkpoint import Which, load_meta, locate
from vidssl.train.config import Recipe
from vidssl.train.data_sets import parse_data
from vidssl.train.recorded import settings_of, videos_of
from vidssl.types import VidsslError

_ARGS = """

Args:
    data: Folder of videos, or an index (.arrow), or several as for train. With run, none takes the videos that it was
        trained on.
    run: Folder of a run of this recipe, or one of its checkpoints, to test on the same tuples. What is not given is as
        in the run.
    out: Folder for audit.json and audit.png; None only prints.
    tuples: Number of tuples to train on, and number to test on.
    device: Where the run's model computes.
    store: Folder that keeps decoded frames of the recipe's store_size; what it lacks is decoded, and kept in it.
    store_limit: Most bytes of that folder, such as 200GB; 0 only reads what is kept. None: no limit.
    allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
    trust_code: Import the code that the run names: an encoder or a task that is module:name or file.py:name. It need
        not be said of code that is given again.
    weights: Which of the run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
        takes the average if the run kept one.
"""


def commands() -> dict[str, Callable[..., None]]:
    """The commands of all recipes, by name."""
    return {name: _command(name, make(), cleandoc(make.__doc__ or "")) for name, make in RECIPES.items()}


def _command(name: str, default: Recipe, doc: str) -> Callable[..., None]:
    def command(
        data: Data = (),
        settings: Recipe = default,
        *,
        run: Path | None = None,
        out: Path | None = None,
        tuples: int = 1000,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        store: Path | None = None,
        store_limit: str | None = None,
        allow_outside: bool = False,
        trust_code: bool = False,
        weights: Which = "auto",
    ) -> None:
        where, sets = out, parse_data(data)
        if run is not None:
            where, checkpoint = locate(run, allow_outside=allow_outside)
            record, what = load_meta(checkpoint, "recipe"), f"audit: run={str(run)!r}"
            settings = settings_of(
                record, settings, name, given(), where=what, fix="leave run out", trust_code=trust_code
            )
            sets = sets or videos_of(record, where, where=what)
        if not sets:
            raise VidsslError("audit: data: name the videos with --data; only with --run are they the run's")
        with made_folder(out):  # report a wrong run or folder before indexing the videos
            index, frames = open_data_and_store(settings, sets, where, store, store_limit, allow_outside=allow_outside)
            found = audit(
                settings,
                index,
                name=name,
                run=run,
                tuples=tuples,
                device=device,
                out=out,
                store=frames,
                weights=weights,
            )
        print(found.text())
        say_read(frames)
        if out is not None:
            print(f"wrote {out / 'audit.json'} and {out / 'audit.png'}")

    command.__doc__ = doc + _ARGS
    return command
