"""A short run, which the tests of this folder use."""

from pathlib import Path

import pytest

from vidssl.index.table import VideoIndex
from vidssl.train.config import Recipe
from vidssl.train.train import train


@pytest.fixture(scope="session")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train(recipe, index, out, device="cpu", steps=2, quiet=True)
    return out
