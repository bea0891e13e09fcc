"""The first ten losses of every method as they were. A change that moves them has to say so.

`python -m tests.train.test_golden` writes tests/golden/train/losses.json anew; the difference is for reading.
Processors differ in the last bits of a convolution, which at the recipes' own rates grow to 1 % in ten steps (AVX2 and
SSE against AVX-512); at a tenth of the rate they stay far below TOLERANCE.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_videos, tiny_recipe
from tests.train.processes import lines
from vidssl.index.table import VideoIndex
from vidssl.recipes import RECIPES
from vidssl.train.train import train

GOLDEN = Path(__file__).parents[1] / "golden" / "train" / "losses.json"
TINY = [name for name in RECIPES if name.endswith("_tiny")]
STEPS, TOLERANCE = 10, 2e-3  # of the loss


def losses(name: str, index: VideoIndex, out: Path) -> list[float]:
    """Of the first steps of a recipe on the tests' videos, in float32 with one thread."""
    recipe = tiny_recipe(name)
    slow = replace(recipe.train, lr=recipe.train.lr / 10, amp="off", workers=1, threads=1)
    settings = replace(slow, batch_size=8, holdout=0.0, log_every=1, steps=STEPS)
    train(replace(recipe, train=settings), index, out, device="cpu", quiet=True)
    return [float(line["train/loss"]) for line in lines(out)]


@pytest.mark.parametrize("name", TINY)
def test_losses_are_the_golden_ones(name: str, index: VideoIndex, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    assert len(golden) == STEPS
    assert len(set(golden)) == STEPS
    assert losses(name, index, tmp_path / "run") == pytest.approx(golden, rel=TOLERANCE)


def test_every_method_has_golden_losses() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(TINY)


def renew() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        index = make_videos(Path(folder, "videos"))
        found = {name: losses(name, index, Path(folder, name)) for name in TINY}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    renew()
