"""A training of the benchmarks that pretrain: one that was begun is resumed."""

from __future__ import annotations

from pathlib import Path

from vidssl.evaluate.run import TrainedRun, load_run
from vidssl.index.table import VideoIndex
from vidssl.store.frames import FrameStore
from vidssl.train.checkpoint import complete
from vidssl.train.config import Recipe
from vidssl.train.train import train


def train_or_resume(recipe: Recipe, index: VideoIndex, out: Path, store: FrameStore | None = None) -> TrainedRun:
    """Trains by a recipe on the CPU, and loads the run. A run that is in `out` is resumed to the recipe's last step."""
    begun = bool(complete(out)) or (out / "run.json").is_file()
    train(recipe, index, out, resume=begun, device="cpu", quiet=True, store=store)
    return load_run(out, store=store)
