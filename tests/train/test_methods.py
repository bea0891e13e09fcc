"""Every method trains through the same loader and loop, by its recipe for a CPU, and its encoder and head are found
again.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import tiny_recipe
from tests.train.processes import lines
from vidssl.evaluate.accuracy import predict_tuples, pretext_accuracy
from vidssl.evaluate.run import trained_model
from vidssl.index.table import VideoIndex
from vidssl.pretext import METHODS, build_model
from vidssl.recipes import RECIPES
from vidssl.train.train import train
from vidssl.types import VidsslError

TINY = [name for name in RECIPES if name.endswith("_tiny")]
WEIZMANN = Path(__file__).resolve().parents[3] / "shared/data/weizmann"


def test_there_is_one_for_every_method() -> None:
    assert {RECIPES[name]().pretext.name for name in TINY} == set(METHODS)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_its_encoder(name: str) -> None:
    recipe = RECIPES[name]()
    plan = recipe.pretext.plan
    with torch.device("meta"):  # shapes alone
        model = build_model(recipe.pretext, recipe.encoder, slotwise_bn=recipe.train.slotwise_bn)
        logits = model(torch.empty(2, plan.slots, 3, plan.times, *plan.augment.crop))
    assert logits.shape == (2, plan.classes)
    assert "Source: " in (RECIPES[name].__doc__ or "")


@pytest.mark.parametrize(
    ("recipe", "encoder", "reason"),
    [
        (
            "shuffle_learn_caffenet",
            "r3d",
            "shuffle_learn shows it clips of 1 x 227 x 227 .* it takes at least 8 frames",
        ),
        ("vcop_r3d", "resnet18", "vcop shows it clips of 16 x 112 x 112 .* it takes exactly 1 frames"),
        ("opn_caffenet", "caffenet", "opn shows it clips of 1 x 80 x 80 .* it takes 199 to 230 rows"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(recipe: str, encoder: str, reason: str) -> None:
    with pytest.raises(VidsslError, match=reason):
        build_model(RECIPES[recipe]().pretext, encoder)


@pytest.mark.parametrize("name", TINY)
def test_it_trains_and_is_found_again(name: str, index: VideoIndex, tmp_path: Path) -> None:
    recipe = tiny_recipe(name)
    few = replace(
        recipe.train, batch_size=4, accumulate=2, workers=1, threads=1, amp="off", holdout=0.3, steps=2, log_every=1
    )
    recipe = replace(recipe, train=few)
    result = train(recipe, index, tmp_path / "run", device="cpu", quiet=True)
    assert result.step == 2
    assert torch.isfinite(torch.tensor(result.metrics["train/loss"]))
    model, again = trained_model(result.checkpoint)
    assert again == recipe
    found = pretext_accuracy(model, index, tuples=2)
    assert found.tuples == round(18 * (1 - found.rejected))
    (answers,) = predict_tuples(model, index, tuples=2)
    assert found.chance == max(recipe.pretext.chance, int(torch.bincount(answers.label).max()) / found.tuples)


@pytest.mark.parametrize(
    "name", ["pace_r3d_tiny", "arrow_r3d_tiny", "jigsaw_r3d_tiny", "out_of_order_tiny", "skip_rate_tiny"]
)
def test_fifty_steps_do_not_diverge(name: str, index: VideoIndex, tmp_path: Path) -> None:
    """The loss stays near that of guessing, on the videos that are learnt and on those that are held out."""
    recipe = RECIPES[name]()
    few = replace(recipe.train, batch_size=8, workers=1, threads=1, amp="off", holdout=0.3, steps=50, log_every=5)
    result = train(replace(recipe, train=few), index, tmp_path / "run", device="cpu", quiet=True)
    guessing = math.log(recipe.pretext.plan.classes)
    losses = [float(line["train/loss"]) for line in lines(tmp_path / "run") if "train/loss" in line]
    assert len(losses) == 10
    assert max(losses) < 1.5 * guessing
    assert result.metrics["val/loss"] < 1.5 * guessing


@pytest.mark.skipif(not WEIZMANN.is_dir(), reason=f"{WEIZMANN} is not there")
@pytest.mark.parametrize("name", TINY)
def test_it_trains_on_real_video(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]()
    recipe = replace(recipe, train=replace(recipe.train, batch_size=8, steps=3, threads=1, log_every=1))
    result = train(recipe, VideoIndex.build(WEIZMANN, progress=False), tmp_path / "run", device="cpu", quiet=True)
    assert torch.isfinite(torch.tensor(result.metrics["val/loss"]))
    assert result.metrics["train/replaced_windows"] == 0
