"""The example of CONTRIBUTING.md: a method of one's own is a table, and trains like the others."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidssl.evaluate.accuracy import predict_tuples, pretext_accuracy
from vidssl.evaluate.run import trained_model
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.pretext import METHODS
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def distance() -> Iterator[Any]:
    (code,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING.read_text(), flags=re.DOTALL)
    assert len(code.splitlines()) < 60
    exec(code, {"__name__": "distance"})
    yield METHODS["distance"]
    del METHODS["distance"]


def test_it_trains_and_is_found_again(distance: Any, index: VideoIndex, tmp_path: Path) -> None:
    task = distance(clip_length=8, distances=(4, 8, 16), augment=Augment(resize=(24, 32), crop=(16, 16)))
    with Loader(index, task, batch_size=4, device="cpu") as loader:
        for batch in loader:
            apart = (batch.frame[:, 1] - batch.frame[:, 0]).numpy()  # [B, T]
            assert (apart == np.array([4, 8, 16])[batch.label.numpy()][:, None]).all()
    recipe = Recipe(
        pretext=task, encoder="r3d_tiny", train=TrainConfig(batch_size=4, workers=1, amp="off", seed=1, holdout=0.3)
    )
    result = train(recipe, index, tmp_path / "run", steps=2, device="cpu", quiet=True)
    model, again = trained_model(result.checkpoint)
    assert again == replace(recipe, train=replace(recipe.train, steps=2))
    found = pretext_accuracy(model, index)
    (answers,) = predict_tuples(model, index)
    most = int(answers.label.bincount().max())
    assert (found.tuples, found.chance) == (36, pytest.approx(max(1 / 3, most / 36)))
