"""The subcommands of `bench`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from vidssl.cli.store_data import open_data_and_store
from vidssl.loader.profile import profile
from vidssl.paths import check_output, write_output
from vidssl.recipes import RECIPES
from vidssl.train.data_sets import DataSet
from vidssl.types import VidsslError
from vidssl.versions import versions

_BEGINS = '{\n "bench": "loader"'  # of the JSON file


def loader(
    data: Path,
    *,
    recipe: str = "vcop_r3d",
    workers: int | None = None,
    windows: int = 64,
    seed: int = 0,
    store: Path | None = None,
    store_size: str | None = None,
    out: Path | None = None,
    allow_outside: bool = False,
) -> None:
    """Measure how fast videos load on this machine's CPU, where the time goes, and what would make it faster.

    Args:
        data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), or index (.arrow).
        recipe: Recipe whose windows are loaded; `vidssl recipes` lists all.
        workers: Threads that decode; None takes one for each core.
        windows: Number of random windows to load.
        seed: Seed of the windows.
        store: Folder of decoded frames from which windows are taken; it must exist. What it lacks is decoded, and
            not kept.
        store_size: Size of its frames: HEIGHTxWIDTH in pixels, or native. None takes the recipe's.
        out: JSON file for the results, in addition to the text.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    if recipe not in RECIPES:
        raise VidsslError(f"recipe={recipe!r}: take one of {', '.join(RECIPES)}")
    if out is not None and not out.parent.is_dir():
        raise VidsslError(f"out={str(out)!r}: no folder {str(out.parent)!r}; name a file in a folder that exists")
    check_output(out, ".json", _BEGINS)
    settings = RECIPES[recipe]()
    if store is None and store_size is not None:
        raise VidsslError(f"store_size={store_size!r}: it needs --store FOLDER")
    if store_size is not None:
        settings = replace(settings, store_size=store_size)
    limit = None if store is None else "0"
    index, frames = open_data_and_store(settings, [DataSet(data)], None, store, limit, allow_outside=allow_outside)
    found = profile(index, settings.pretext, workers=workers, windows=windows, seed=seed, store=frames)
    print(found.text())
    if out is not None:
        about = {"bench": "loader", "data": str(data), "recipe": recipe, **asdict(found), "versions": versions()}
        if frames is not None:
            about |= {"store": str(store), "store_size": frames.size_text}
        write_output(out, json.dumps(about, indent=1) + "\n")
        print(f"wrote {out}")


def commands() -> dict[str, Callable[..., None]]:
    """Returns the subcommands by name."""
    return {"loader": loader}
