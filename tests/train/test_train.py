"""The training loop on small real video: what it leaves behind, and that stopping changes nothing."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, recipe_from
from vidssl.train.log import METRICS, TIMED
from vidssl.train.step import Stepper
from vidssl.train.train import Stopped, train
from vidssl.types import Batch, VidsslError


def _lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _steady(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key not in (*TIMED, "seconds")}


def test_a_run_leaves_checkpoints_and_logs(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(recipe, index, tmp_path / "run", steps=4, device="cpu")
    lines = _lines(tmp_path / "run")
    assert [line["step"] for line in lines] == [2, 3, 4, 4]  # every 2 steps, with each checkpoint, and the validation
    beside = {"step", "epoch", "seconds", "train/confusion", "val/confusion"}
    absent = {"train/gpu_memory", "train/windows"}  # of a GPU, of several data sets
    assert set(lines[0]) - beside == {name for name in METRICS if name.startswith("train/")} - absent
    assert set(lines[3]) - beside == {name for name in METRICS if name.startswith(("val/", "watch/"))}
    assert np.sum(lines[0]["train/confusion"]) == 2 * recipe.train.batch_size
    assert np.sum(lines[3]["val/confusion"]) == 2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["encoder"] == recipe.encoder
    board = EventAccumulator(str(tmp_path / "run")).Reload()
    tags = board.Tags()
    assert {"train/loss", "train/queue_depth", "train/host_memory", "val/accuracy"} <= set(tags["scalars"])
    assert {f"train_class_accuracy/{name}" for name in recipe.pretext.class_names} & set(tags["scalars"])
    assert {"train/tuples", "val/confusion"} <= set(tags["images"])
    assert (tmp_path / "run" / "projector_config.pbtxt").is_file()
    assert any("hparams" in tag for tag in board.summary_metadata)
    assert [path.name for path in checkpoint.complete(tmp_path / "run")] == ["step_00000003", "step_00000004"]
    meta = checkpoint.load_meta(result.checkpoint)
    assert recipe_from(meta["recipe"]) == replace(recipe, train=replace(recipe.train, steps=4))
    assert (meta["step"], meta["seed"], meta["amp"]) == (4, 5, "off")
    text = capsys.readouterr().out
    most = np.sum(lines[3]["val/confusion"], axis=1).max() / 2  # right by one answer to the two held-out tuples
    assert lines[3]["val/chance"] == most > 1 / 6
    assert f"val accuracy {lines[3]['val/accuracy']:.1%} (chance {most:.1%})" in text
    assert f"accuracy {lines[0]['train/accuracy']:.1%} (chance 16.7%)" in text
    assert "7 videos to train on, 2 held out, 1 skipped" in text
    assert "a/short.avi: 9 frames" in text


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    schedule: Literal["constant", "cosine"], index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, schedule=schedule, save_every=2))
    whole = train(recipe, index, tmp_path / "whole", steps=8, device="cpu", quiet=True)
    stop_at = 5  # not where it would have saved, and in the middle of an epoch

    original, done = Stepper.backward, 0

    def interrupted(self: Stepper, batch: Batch, step: int) -> object:
        nonlocal done
        done += 1
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "backward", interrupted)
        with pytest.raises(Stopped, match=r"stopped at step 5 of 8.*--resume"):
            train(recipe, index, tmp_path / "parts", steps=8, device="cpu", quiet=True)
    parts = train(recipe, index, tmp_path / "parts", steps=8, resume=True, device="cpu", quiet=True)
    for part in ("encoder", "head"):
        one, other = checkpoint.load_weights(whole.checkpoint, part), checkpoint.load_weights(parts.checkpoint, part)
        assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = checkpoint.load_state(whole.checkpoint), checkpoint.load_state(parts.checkpoint)
    assert one["loader"] == other["loader"]
    assert [_steady(line) for line in _lines(tmp_path / "whole")] == [
        _steady(line) for line in _lines(tmp_path / "parts")
    ]


def test_resuming_something_else_is_refused(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    other = replace(recipe, train=replace(recipe.train, lr=0.5))
    with pytest.raises(VidsslError, match=r"other settings.*train\.lr: 0\.01 then, 0\.5 now"):
        train(other, index, out, steps=2, resume=True, device="cpu", quiet=True)
    fewer = VideoIndex(index.table.slice(0, 8), index.root)
    with pytest.raises(VidsslError, match=r"data: '10 videos.*then, '8 videos"):
        train(recipe, fewer, out, steps=2, resume=True, device="cpu", quiet=True)
    with pytest.raises(VidsslError, match=r"not empty.*--resume"):
        train(recipe, index, out, steps=2, device="cpu", quiet=True)
    wave = replace(recipe, train=replace(recipe.train, schedule="cosine"))
    train(wave, index, tmp_path / "wave", steps=1, device="cpu", quiet=True)
    with pytest.raises(VidsslError, match=r"steps: 1 then, 2 now\. The run's schedule=cosine lowers the learning rate"):
        train(wave, index, tmp_path / "wave", steps=2, resume=True, device="cpu", quiet=True)
    longer = replace(recipe, train=replace(recipe.train, epochs=7, workers=2))
    assert train(longer, index, out, steps=2, resume=True, device="cpu", quiet=True).step == 2


def test_a_resumed_run_says_where_it_ends_now(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for steps in (1, 3):
        train(recipe, index, out, steps=steps, resume=steps > 1, device="cpu", quiet=True)
        about = json.loads((out / "run.json").read_text())
        assert about["recipe"]["train"]["steps"] == steps
        assert about["init"] is None


def test_a_run_without_a_checkpoint_begins_anew(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe, index, tmp_path / "whole", steps=4, device="cpu", quiet=True)
    real = Stepper.backward

    def dies(self: Stepper, batch: Batch, step: int) -> object:
        if step == 2:
            raise RuntimeError("killed before the first checkpoint")
        return real(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "backward", dies)
        with pytest.raises(RuntimeError):
            train(recipe, index, tmp_path / "parts", steps=4, device="cpu", quiet=True)
    parts = train(recipe, index, tmp_path / "parts", steps=4, resume=True, device="cpu", quiet=True)
    assert [_steady(line) for line in _lines(tmp_path / "whole")] == [
        _steady(line) for line in _lines(tmp_path / "parts")
    ]
    weights = [checkpoint.load_weights(result.checkpoint, "encoder") for result in (whole, parts)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_that_could_not_begin_leaves_a_folder_for_the_next(
    index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    large = replace(recipe, train=replace(recipe.train, batch_size=100))
    with pytest.raises(VidsslError, match="an epoch has only 7 tuples"):
        train(large, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    assert train(recipe, index, tmp_path / "run", steps=1, device="cpu", quiet=True).step == 1


def test_resuming_nothing_is_refused(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match=r"resume: .*has no run in it"):
        train(recipe, index, tmp_path / "none", resume=True, device="cpu")


def test_a_loss_that_is_not_finite_names_its_video(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    wild = replace(recipe, train=replace(recipe.train, lr=1e30))
    with pytest.raises(
        VidsslError, match=r"not finite at step \d+, shown: [abc]/\d_g\d\.avi frames \d+\.\.\d+.*lower lr"
    ):
        train(wild, index, tmp_path / "run", steps=12, device="cpu", quiet=True)


@pytest.mark.parametrize(
    ("steps", "device", "named"),
    [(0, "cpu", "steps=0"), (1, "tpu", "device='tpu'"), (1, "cuda:99", "device='cuda:99'")],
)
def test_wrong_arguments_are_named(
    steps: int, device: str, named: str, index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(VidsslError, match=named):
        train(recipe, index, tmp_path / "run", steps=steps, device=device)


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 0.0), ("batch_size", 1), ("holdout", 1.0), ("momentum", 1.0), ("workers", 0)]
)
def test_wrong_settings_are_named(name: str, value: float, recipe: Recipe) -> None:
    with pytest.raises(VidsslError, match=f"{name}={value}"):
        replace(recipe.train, **cast(Any, {name: value}))


def test_a_damaged_checkpoint_is_left_aside(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = replace(recipe, train=replace(recipe.train, save_every=2, keep=3))
    whole = train(recipe, index, tmp_path / "run", steps=6, device="cpu", quiet=True)
    weights = checkpoint.load_weights(whole.checkpoint, "encoder")
    state = whole.checkpoint / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    again = train(recipe, index, tmp_path / "run", steps=6, resume=True, device="cpu", quiet=True)
    assert "step_00000006 is damaged and not used; the run continues from step_00000004" in caplog.text
    assert again.checkpoint == whole.checkpoint
    after = checkpoint.load_weights(again.checkpoint, "encoder")
    assert all(torch.equal(after[name], weights[name]) for name in weights)
