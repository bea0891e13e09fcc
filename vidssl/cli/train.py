"""The subcommand `train`: one command a recipe, with every setting of the recipe as an option."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from typing import Literal

from vidssl.cli.data import open_data
from vidssl.recipes import RECIPES
from vidssl.train.config import Recipe
from vidssl.train.loop import open_run, train
from vidssl.train.ranks import ranks

_ARGS = """

Args:
    data: Folder of videos or shards (*.tar) or list of them (.txt, .csv), indexed on the first use, or an index (.arrow).
    out: Folder of the run: checkpoints, metrics.jsonl, tensorboard.
    resume: Continue the run in OUT from its newest checkpoint.
    device: Where to compute; auto takes a GPU where there is one.
    allow_outside: Take an index (.arrow) too that names files outside of its root.
"""


def commands() -> dict[str, Callable[..., None]]:
    """Name to command, for every recipe."""
    return {name: _command(make(), cleandoc(make.__doc__ or "")) for name, make in RECIPES.items()}


def _command(default: Recipe, doc: str) -> Callable[..., None]:
    def command(
        data: Path,
        out: Path,
        settings: Recipe = default,
        *,
        resume: bool = False,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        allow_outside: bool = False,
    ) -> None:
        with ranks(device) as among:
            open_run(out, resume=resume, among=among, quiet=True)  # a wrong folder is said before its videos are indexed
            with among.first_alone():
                index = open_data(data, out, allow_outside=allow_outside)
            train(settings, index, out, resume=resume, among=among)

    command.__doc__ = doc + _ARGS
    return command
