"""Fine-tuning begins with other weights than the run's, or with some of them alone: as published for OPN, and for
Odd-One-Out in an RGB network.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vidssl import VideoIndex, VidsslError
from vidssl.evaluate.finetune import FineTune, check_first_weights, evaluate_finetune, finetune_folder
from vidssl.evaluate.published import finetune_opn
from vidssl.evaluate.run import TrainedRun, load_run, trained_encoder
from vidssl.evaluate.splits import Splits
from vidssl.recipes.odd_one_out import odd_one_out_alexnet
from vidssl.recipes.opn import opn_caffenet
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train

CONFIG = TrainConfig(batch_size=2, lr=0.02, amp="off", holdout=0.0, workers=1, log_every=2, save_every=3, val_every=3)


@pytest.fixture
def away(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> TrainedRun:
    train(recipe, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    return load_run(tmp_path / "run")


@pytest.fixture(scope="module")
def data(index: VideoIndex) -> Splits:
    return Splits(
        train=index.select(range(0, 10, 2)), test=index.select(range(1, 10, 2)), description="every other video"
    )


def still(**settings: Any) -> TrainConfig:
    """One step at a rate that moves no weight."""
    return replace(CONFIG, steps=1, lr=1e-30, weight_decay=0.0, **settings)


def begun(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_weights(checkpoint.find(folder), "encoder")


def test_other_weights_than_the_runs(
    away: TrainedRun,
    data: Splits,
    recipe: Recipe,
    index: VideoIndex,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of another run; with a part that stays fresh. Both are printed and written, and resuming does not read them."""
    train(
        replace(recipe, train=replace(recipe.train, seed=8)),
        index,
        tmp_path / "other",
        steps=1,
        device="cpu",
        quiet=True,
    )
    how = FineTune(
        init=str(tmp_path / "other"), fresh=("stages.3",), freeze=("stem",), clips=1, train=replace(CONFIG, steps=1)
    )
    check_first_weights(away, how)
    evaluate_finetune(away, data, how, device="cpu")
    assert "fresh: stages.3 (18 tensors)" in capsys.readouterr().out
    given = checkpoint.load_weights(checkpoint.find(tmp_path / "other"), "encoder")
    shutil.rmtree(tmp_path / "other")
    longer = replace(how, train=replace(CONFIG, steps=2))
    found = evaluate_finetune(away, data, longer, resume=True, device="cpu", quiet=True)
    folder = away.folder / "finetune" / "from_other"
    after = checkpoint.load_weights(checkpoint.find(folder), "encoder")
    assert all(torch.equal(after[name], given[name]) for name in after if name.startswith("stem."))
    assert (found.kind, list(found.numbers)) == ("finetune_from_other", ["fine-tuned", "chance"])
    about = json.loads((away.folder / "finetune_from_other.json").read_text())["settings"]["weights"]
    assert about == json.loads((folder / "run.json").read_text())["init"]
    assert (about["step"], len(about["transferred"]), len(about["fresh"])) == (1, 54, 18)
    assert any("Fresh: stages.3 (18 tensors)." in note for note in found.notes)
    with pytest.raises(VidsslError, match=r"finetune: init=.*no such file or folder"):
        check_first_weights(away, how)
    others = [replace(how, init=f"{tmp_path}/a/checkpoints/{name}") for name in ("x", "y")]
    folders = [finetune_folder(away.folder, other) for other in others]
    assert [one.name for one in folders] == ["from_a_x", "from_a_y"]


def test_a_run_that_names_no_first_weights_is_tested_again(away: TrainedRun, data: Splits) -> None:
    """Of a version that did not write them."""
    how = FineTune(clips=1, train=replace(CONFIG, steps=1))
    found = evaluate_finetune(away, data, how, device="cpu", quiet=True)
    path = Path(found.settings["checkpoint"]) / "meta.json"
    meta = json.loads(path.read_text())
    del meta["init"], meta["fixed"]["finetune.fresh"], meta["fixed"]["init"], meta["fixed"]["fresh"]
    path.write_text(json.dumps(meta))
    again = evaluate_finetune(away, data, how, resume=True, device="cpu", quiet=True)
    assert again.settings["weights"] is None
    assert again.numbers == found.numbers
    assert not [note for note in again.notes if note.startswith("First weights") or "Fresh" in note]


def test_opn_is_fine_tuned_as_published(index: VideoIndex, data: Splits, tmp_path: Path) -> None:
    """The convolutions of 80 x 80 patches begin a network for whole frames, whose dense layers are fresh."""
    recipe = opn_caffenet()
    recipe = replace(
        recipe,
        pretext=replace(recipe.pretext, interval_min=2, interval_max=8),  # type: ignore[call-arg]
        train=still(schedule="constant", slotwise_bn=False),
    )
    train(recipe, index, tmp_path / "run", device="cpu", quiet=True)
    run = load_run(tmp_path / "run")
    published = finetune_opn()
    assert (published.clips, published.crops, published.crop) == (25, "ten", (224, 224))
    how = replace(published, clips=1, crops="centre", train=still())
    with pytest.raises(VidsslError, match=r"finetune: init=.*--fresh dense leaves these parts"):
        check_first_weights(run, replace(how, fresh=()))
    found = evaluate_finetune(run, data, how, device="cpu", quiet=True)
    given, after = begun(run.folder), begun(run.folder / "finetune" / "checkpoint")
    for name in given:
        if name.startswith("convs.") and name.endswith(("weight", "bias")):
            torch.testing.assert_close(after[name], given[name], rtol=0, atol=1e-20, msg=name)
    assert after["dense.fc6.weight"].shape == (4096, 9216)
    assert {name.split(".")[0] for name in found.settings["weights"]["fresh"]} == {"dense"}
    assert {name.split(".")[0] for name in found.settings["weights"]["transferred"]} == {"convs"}
    assert trained_encoder(checkpoint.find(run.folder / "finetune" / "checkpoint"))[1].encoder == "caffenet_opn_full"


def test_odd_one_outs_stacks_begin_an_rgb_network(index: VideoIndex, data: Splits, tmp_path: Path) -> None:
    """conv1 of a stack has 15 channels and stays fresh; conv2 .. conv5 are transferred."""
    recipe = odd_one_out_alexnet()
    train(replace(recipe, train=still(slotwise_bn=False)), index, tmp_path / "run", device="cpu", quiet=True)
    run = load_run(tmp_path / "run")
    how = FineTune(input="frame", fresh=("dense",), clips=1, crops="centre", train=still())
    with pytest.raises(
        VidsslError, match=r"\[96, 15, 11, 11\] there and \[96, 3, 11, 11\] here; --fresh convs.conv1 dense "
    ):
        check_first_weights(run, how)
    evaluate_finetune(run, data, replace(how, fresh=("convs.conv1", "dense")), device="cpu", quiet=True)
    given, after = begun(run.folder), begun(run.folder / "finetune" / "checkpoint")
    assert after["convs.conv1.weight"].shape == (96, 3, 11, 11)
    for at in range(2, 6):
        name = f"convs.conv{at}.weight"
        torch.testing.assert_close(after[name], given[name], rtol=0, atol=1e-20, msg=name)
    encoder, tuned = trained_encoder(checkpoint.find(run.folder / "finetune" / "checkpoint"))
    assert (encoder.channels, tuned.pretext.input) == (3, (3, 1, 227, 227))


def test_single_frames_are_for_odd_one_out(away: TrainedRun) -> None:
    with pytest.raises(
        VidsslError, match=r"input='frame': only Odd-One-Out's encoder .* has learnt vcop; leave input out"
    ):
        check_first_weights(away, FineTune(input="frame"))
