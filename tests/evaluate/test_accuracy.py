"""Accuracy in the pretext task on given videos: of which tuples it is, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidssl.cli import main
from vidssl.evaluate.accuracy import evaluate_pretext, predict_tuples, pretext_accuracy
from vidssl.evaluate.run import TrainedRun, load_run, trained_model, untrained_model
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.train.config import Recipe
from vidssl.train.train import train


@pytest.fixture(scope="module")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    out = tmp_path_factory.mktemp("run")
    train(recipe, index, out, steps=2, device="cpu", quiet=True)
    return load_run(out)


def test_accuracy_is_that_of_the_loaders_tuples(run: TrainedRun, index: VideoIndex) -> None:
    model, _ = trained_model(run.path)
    (found,) = predict_tuples(model, index, tuples=3)
    with Loader(index, model.pretext, batch_size=3, tuples_per_window=3, train=False, device="cpu") as loader:
        batches = list(loader)
    with torch.no_grad():
        wanted = torch.cat([model(batch.clips).argmax(1) for batch in batches])
    assert torch.equal(found.predicted, wanted)
    assert torch.equal(found.label, torch.cat([batch.label for batch in batches]))
    assert torch.equal(found.video, torch.from_numpy(index.usable(28).repeat(3)))
    summary = pretext_accuracy(model, index, tuples=3)
    assert summary.accuracy == float((wanted == found.label).float().mean())
    rights = [float((wanted == each)[found.label == each].float().mean()) for each in found.label.unique()]
    assert summary.balanced == pytest.approx(np.mean(rights))


def test_a_run_on_a_list_of_videos(run: TrainedRun, index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    videos = tmp_path / "test.txt"
    videos.write_text("".join(f"{index.root / path}\n" for path in paths[:5]))
    assert (
        main(["evaluate", "pretext", str(run.folder), "--test", str(videos), "--tuples", "2", "--device", "cpu"]) == 0
    )
    written = json.loads((run.folder / "pretext.json").read_text())
    five = VideoIndex.build(videos, progress=False)
    usable = len(five.usable(recipe.pretext.plan.frames))
    assert written["counts"] == {"tuples": 2 * usable, "videos": usable, "classes": 6}
    trained, first = trained_model(run.path)[0], untrained_model(recipe)
    for name, model in (("trained", trained), ("untrained", first)):
        found = pretext_accuracy(model, five, tuples=2)
        assert written["numbers"][name]["accuracy"]["value"] == pytest.approx(found.accuracy)
        assert written["numbers"][name]["balanced"]["value"] == pytest.approx(found.balanced)
    (answers,) = predict_tuples(trained, five, tuples=2)
    constant = max(float((answers.label == each).float().mean()) for each in range(6))  # one answer to all tuples
    assert constant > 1 / 6
    assert written["numbers"]["chance"]["accuracy"]["value"] == pytest.approx(constant)
    assert written["numbers"]["chance"]["balanced"]["value"] == pytest.approx(1 / 6)
    assert written["data"]["test_videos"] == 5
    assert f"{5 - usable} of 5 videos" in written["notes"][0]


def test_the_videos_that_the_run_held_out(
    run: TrainedRun, index: VideoIndex, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training videos are named, and those that the run saw are left out; a table says which were tested."""
    begin = ["evaluate", "pretext", str(run.folder)]
    assert main([*begin, "--train", str(index.root), "--tuples", "2", "--device", "cpu"]) == 0
    written = json.loads((run.folder / "pretext.json").read_text())
    _, held = recipe.train.split(index, recipe.pretext.plan.frames)
    assert 0 < len(held) < len(index)
    assert written["data"]["test_videos"] == len(held)
    assert written["split"] == "tested on the run's held-out videos"
    assert main([*begin, "--test", str(index.root), "--tuples", "2", "--device", "cpu"]) == 0
    seen = len(index.usable(recipe.pretext.plan.frames)) - len(held.usable(recipe.pretext.plan.frames))
    written = json.loads((run.folder / "pretext.json").read_text())
    assert written["split"] == "tested on the videos as given"
    assert written["data"]["test_videos_pretrained_on"] == seen
    line = f"{seen} of {len(index)} test videos were among the run's pretraining videos (without labels)."
    assert line in written["notes"]
    for wrong in ([], ["--train", "a", "--test", "b"]):
        assert main([*begin, *wrong]) == 2
        assert "name the training videos with --train, of which those are tested" in capsys.readouterr().err


def test_the_untrained_model_is_the_one_that_the_run_began_with(
    index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    """A step at a rate of almost nothing leaves encoder and head as they were."""
    slow = replace(recipe, train=replace(recipe.train, lr=1e-12))
    train(slow, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    begun = trained_model(load_run(tmp_path / "run").path)[0]
    for (name, value), after in zip(untrained_model(slow).named_parameters(), begun.parameters(), strict=True):
        torch.testing.assert_close(value, after, msg=name)


def test_intervals_are_by_video(run: TrainedRun, index: VideoIndex) -> None:
    """Many tuples of few videos do not make the interval narrow."""
    found = evaluate_pretext(run, index, tuples=16, device="cpu").numbers["trained"]["accuracy"]
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 2 * 1.96 * (found.value * (1 - found.value) / (16 * len(index))) ** 0.5 - 1e-9
