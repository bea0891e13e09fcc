"""Does the loader's memory stay flat? Resident memory after each of many epochs over a set of videos.

    python -m benchmarks.bench_memory --data FOLDER --out benchmarks/results

What counts is the growth from the second epoch to the last: by the second, every buffer has been in use. (Epochs of 50
windows were too short for that with the DALI graph: there memory rose for eight of them, and then stood still for 32.)
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from benchmarks import workloads
from benchmarks.harness import append, circumstances, measured
from vidssl import Loader, VideoIndex
from vidssl.loader.choose_decoder import Decode
from vidssl.memory import host_memory
from vidssl.recipes import RECIPES
from vidssl.types import VidsslError

SETTLED = 2  # epochs until every buffer has been in use
GRAPH = ("opn_caffenet",)  # recipes that the DALI graph serves here, so that its memory is watched too


def resident() -> float:
    """MiB of this process that are in memory now."""
    return 2**10 * host_memory()


def measure(
    index: VideoIndex,
    recipe: str,
    *,
    epochs: int,
    workers: int,
    batch_size: int,
    device: str = "cpu",
    decode: Decode = "auto",
) -> dict[str, Any]:
    """MiB after each epoch, and how much more after the last than after the second; on a GPU, also of its memory (all
    processes).
    """
    after, on_device = [], []
    with Loader(
        index,
        RECIPES[recipe]().pretext,
        batch_size=batch_size,
        device=device,
        decode=decode,
        workers=workers,
        seed=0,
        engine="dali" if recipe in GRAPH else "auto",
    ) as loader:
        for _ in tqdm(range(epochs), desc=recipe, unit="epoch", leave=False, disable=None):
            for batch in loader:
                assert batch.clips.shape[0] == batch_size
            after.append(round(resident(), 1))
            if loader.device.type == "cuda":
                torch.cuda.synchronize(loader.device)
                free, total = torch.cuda.mem_get_info(loader.device)
                on_device.append(round((total - free) / 2**20, 1))
        seen = loader.stats["windows"]
        engine = loader.engine if loader.decode == "cpu" else f"{loader.engine}, {loader.decode}"
    found = {
        "engine": engine,
        "workers": workers,
        "batch": batch_size,
        "epochs": epochs,
        "windows": seen,
        "after": after,
        "growth": after[-1] / after[SETTLED - 1] - 1,
    }
    return found | (
        {"on device": on_device, "growth on device": on_device[-1] / on_device[SETTLED - 1] - 1} if on_device else {}
    )


def main(
    *,
    data: Path | None = None,
    recipes: tuple[str, ...] = ("vcop_r3d", "opn_caffenet"),
    epochs: int = 20,
    windows: int = 192,
    workers: int = 2,
    batch_size: int = 8,
    device: Literal["cpu", "cuda"] = "cpu",
    decode: Decode = "auto",
    keep: Path | None = None,
    quick: bool = False,
    resume: bool = False,
    out: Path | None = None,
) -> None:
    """Load epoch after epoch and watch resident memory.

    Args:
        data: Folder of videos; none makes some.
        recipes: Whose tasks: vcop_r3d is assembled by the workers, opn_caffenet by the DALI graph.
        epochs: Of each.
        windows: Of an epoch, at least: the videos are listed as often as that takes.
        workers: Of the loader.
        batch_size: Of the loader.
        device: Of the loader.
        decode: Of the loader.
        keep: Folder that keeps the clips made here, for the next time.
        quick: Few short clips and small epochs: to see that it runs.
        resume: Leave out what `out` has already, of this commit.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if epochs <= SETTLED:
        raise VidsslError(f"epochs={epochs}: take more than {SETTLED}")
    if decode == "nvdec" and workloads.nvdec() is None:
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        if data is None:
            data = Path(folder) / "videos"
            data.mkdir()
            for clip, copy in product(workloads.QUICK, range(2)) if quick else product(workloads.CLIPS[:3], range(16)):
                path = workloads.made(
                    replace(clip, name=f"{clip.name}_{copy}", frames=80 + 3 * copy), keep or Path(folder)
                )
                (data / path.name).symlink_to(path.resolve())
        windows = 2 * batch_size if quick else windows
        one = VideoIndex.build(data, progress=False)
        index = one.select(np.tile(np.arange(len(one)), -(-windows // len(one))))
        for recipe in recipes:
            workload = recipe if device == "cpu" else f"{recipe}, {device}, decode={decode}"
            if resume and measured("memory", workload, out):
                continue
            found = measure(
                index, recipe, epochs=epochs, workers=workers, batch_size=batch_size, device=device, decode=decode
            )
            line = {"bench": "memory", "workload": workload, **found, "videos": len(index), **circumstances()}
            before, last = found["after"][SETTLED - 1], found["after"][-1]
            print(f"{workload}: {before} MiB after {SETTLED} epochs, {last} after {epochs}: {found['growth']:+.1%}")
            if "growth on device" in found:
                last, growth = found["on device"][-1], found["growth on device"]
                print(f"{workload}: on the device {last} MiB after {epochs} epochs: {growth:+.1%}")
            append(line, out)


if __name__ == "__main__":
    tyro.cli(main)
