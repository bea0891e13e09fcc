"""Trains VCOP on a folder of videos; a second call continues from the latest checkpoint.

python examples/train.py --data VIDEOS --out RUN
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tyro

from vidssl import VideoIndex
from vidssl.recipes import RECIPES
from vidssl.train.train import train


def main(
    data: Path,
    out: Path,
    *,
    recipe: str = "vcop_r3d_tiny",
    epochs: int = 10,
    batch_size: int = 16,
    workers: int | None = None,
) -> None:
    """Trains a recipe.

    Args:
        data: Folder of videos.
        out: Folder of the run.
        recipe: Name of the recipe; `vidssl recipes` lists them.
        epochs: Passes over the videos.
        batch_size: Tuples a step.
        workers: Threads that decode; None takes one for each core.
    """
    chosen = RECIPES[recipe]()
    settings = replace(chosen.train, epochs=epochs, batch_size=batch_size, workers=workers)
    chosen = replace(chosen, train=settings)
    index = VideoIndex.build(data)
    result = train(chosen, index, out, resume=out.exists())
    print(f"step {result.step}; checkpoint: {result.checkpoint}")


if __name__ == "__main__":
    tyro.cli(main)
