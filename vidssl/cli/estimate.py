"""The command `estimate`."""

from __future__ import annotations

import json as notation
import logging
from dataclasses import replace
from pathlib import Path

from vidssl import paths
from vidssl.cli.arguments import DataPath
from vidssl.forecast import estimate as estimate_data
from vidssl.forecast.run import SECONDS
from vidssl.paths import check_output, printable, write_output
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError
from vidssl.versions import versions

_BEGINS = '{\n "estimate": '  # of the JSON file


def estimate(
    data: DataPath,
    *,
    recipe: str = "vcop_r3d",
    gpus: int = 1,
    gpus_per_node: int = 8,
    cores: int | None = None,
    samples_per_gpu: float | None = None,
    gpu_memory: str | None = None,
    store_size: str | None = None,
    disk: Path = Path(),
    seconds: float = SECONDS,
    seed: int = 0,
    json: Path | None = None,
    allow_outside: bool = False,
) -> None:
    """Estimate what a data set will cost: hours, bytes, and what training will wait for. Nothing is indexed or kept.

    Some videos are read, re-encoded, kept and loaded for a few seconds. The size of a store comes from the index or,
    where there is none, from the videos that were looked at. Each figure says where it comes from.

    Args:
        data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), shard, or index (.arrow). Each may be a
            URL (s3:// or https://).
        recipe: Recipe whose task and encoder are asked about; `vidssl recipes` lists all.
        gpus: GPUs to train on, in all.
        gpus_per_node: GPUs of a node.
        cores: Cores of a node; None takes those of this machine.
        samples_per_gpu: Samples (tuples) a second that a GPU trains on; None measures it on the GPU of this machine.
        gpu_memory: Memory of a GPU, such as 80GB; None takes what the GPU of this machine has available.
        store_size: Size of the store to load from: HEIGHTxWIDTH in pixels, or native. None takes the recipe's.
        disk: Folder on the disk where the store or prepared videos would be.
        seconds: Seconds that the trials take, about: each finishes the video that it has begun.
        seed: Decides which videos are looked at.
        json: JSON file for all figures, in addition to the tables.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    if recipe not in RECIPES:
        raise VidsslError(f"recipe={recipe!r}: take one of {', '.join(RECIPES)}")
    check_output(json, ".json", _BEGINS, argument="json")
    chosen = RECIPES[recipe]()
    if store_size is not None:
        chosen = replace(chosen, store_size=store_size)
    resized = sorted({RECIPES[name]().pretext.augment.resize for name in RECIPES})
    log = logging.getLogger("vidssl.loader")
    before = log.level
    log.setLevel(logging.WARNING)  # of four loaders, which each would say how it loads
    try:
        found = estimate_data(
            data,
            chosen,
            gpus=gpus,
            gpus_per_node=gpus_per_node,
            cores=cores,
            samples_per_gpu=samples_per_gpu,
            gpu_memory=None if gpu_memory is None else paths.parse_bytes(gpu_memory, "gpu_memory"),
            sizes=[*(f"{height}x{width}" for height, width in resized), "native"],
            disk=disk,
            seconds=seconds,
            seed=seed,
            allow_outside=allow_outside,
        )
    finally:
        log.setLevel(before)
    print(found.text())
    if json is None:
        return
    about = {"estimate": str(data), "recipe": recipe, **found.as_dict(), "versions": versions()}
    write_output(json, notation.dumps(about, indent=1) + "\n", argument="json")
    print(f"wrote {printable(json)}")
