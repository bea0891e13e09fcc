"""Fine-tuning learns with labels, from a checkpoint or from scratch, leaves frozen parts as they are, and goes on where
it was stopped. The file is long because each setting is tried by a fine-tuning of its own.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_lock import holder
from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.demo.render import encode
from vidssl.evaluate import finetune
from vidssl.evaluate.features import Clips, Features, extract
from vidssl.evaluate.finetune import FineTune, evaluate_finetune
from vidssl.evaluate.run import TrainedRun, load_run, trained_encoder, untrained_encoder
from vidssl.evaluate.splits import Splits, with_columns
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.lock import LOCK
from vidssl.recipes.shuffle_learn import shuffle_learn_tiny
from vidssl.train import checkpoint, setup
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.recorded import CHANGEABLE
from vidssl.train.step import Stepper, StepResult
from vidssl.train.train import train
from vidssl.train.trainer import Trainer
from vidssl.types import Batch
from vidssl.video.decode import decode

CONFIG = TrainConfig(
    batch_size=2, lr=0.02, amp="off", holdout=0.0, workers=1, steps=6, log_every=2, save_every=3, val_every=3, seed=3
)


@pytest.fixture(scope="module")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    out = tmp_path_factory.mktemp("run")
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    return load_run(out)


@pytest.fixture(scope="module")
def data(index: VideoIndex) -> Splits:
    return Splits(
        train=index.select(range(0, 10, 2)), test=index.select(range(1, 10, 2)), description="every other video"
    )


def test_frozen_parts_stay_and_the_others_learn(run: TrainedRun, data: Splits) -> None:
    how = FineTune(freeze=("stem", "stages.0"), clips=2, train=CONFIG)
    found = evaluate_finetune(run, data, how, device="cpu", quiet=True)
    assert found.kind == "finetune"
    assert set(found.numbers) == {"fine-tuned", "chance"}
    folder = run.folder / "finetune" / "checkpoint"
    after, before = (checkpoint.load_weights(path, "encoder") for path in (checkpoint.find(folder), run.path))
    for name in after:  # running statistics of batch norm too
        frozen = name.startswith(("stem.", "stages.0."))
        assert torch.equal(after[name], before[name]) == frozen or "num_batches" in name, name
    written = json.loads((run.folder / "finetune.json").read_text())
    assert written["settings"]["steps"] == 6
    assert written["counts"] == {"training videos": 5, "test videos": 5, "classes": 3}
    assert (folder / "metrics.jsonl").is_file()
    assert trained_encoder(checkpoint.find(folder))[1].encoder == "r3d_tiny"  # it can be evaluated like any other run


def test_going_on_gives_the_same_bits(run: TrainedRun, data: Splits) -> None:
    how = FineTune(init="scratch", clips=2, train=CONFIG)
    evaluate_finetune(run, data, replace(how, train=replace(CONFIG, steps=3)), device="cpu", quiet=True)
    with pytest.raises(VidsslError, match="not empty; --resume continues the run in it, or move it away"):
        evaluate_finetune(run, data, how, device="cpu", quiet=True)
    with pytest.raises(VidsslError, match=r"train.lr: 0.02 then, 1.0 now"):
        evaluate_finetune(run, data, replace(how, train=replace(CONFIG, lr=1.0)), resume=True, device="cpu", quiet=True)
    found = evaluate_finetune(run, data, how, resume=True, device="cpu", quiet=True)
    assert (found.kind, found.settings["steps"]) == ("finetune_scratch", 6)
    folder = run.folder / "finetune" / "scratch"
    resumed = checkpoint.load_weights(checkpoint.find(folder), "encoder")
    folder.rename(folder.with_name("stopped"))
    evaluate_finetune(run, data, how, device="cpu", quiet=True)
    whole = checkpoint.load_weights(checkpoint.find(folder), "encoder")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_live_fine_tuning_is_not_joined(run: TrainedRun, data: Splits, tmp_path: Path) -> None:
    alone = replace(run, folder=tmp_path)
    process = holder(tmp_path / "finetune" / "checkpoint" / LOCK)
    for resume in (False, True):
        with pytest.raises(VidsslError, match=f"finetune: the folder of this .*: process {process.pid} on "):
            evaluate_finetune(alone, data, FineTune(clips=2, train=CONFIG), resume=resume, device="cpu", quiet=True)
    process.kill()
    process.communicate()


@pytest.fixture
def away(run: TrainedRun, tmp_path: Path) -> TrainedRun:
    """The run, whose fine-tuned runs are written elsewhere."""
    return replace(run, folder=tmp_path / "run")


def test_a_resumed_run_may_change_what_training_may(away: TrainedRun, data: Splits) -> None:
    """The settings of CHANGEABLE, its length, and how it is tested; all of them at once."""
    how = FineTune(clips=2, train=replace(CONFIG, steps=1))
    evaluate_finetune(away, data, how, device="cpu", quiet=True)
    changed: dict[str, Any] = {
        "epochs": 7,
        "steps": 2,
        "workers": 2,
        "threads": 1,
        "max_corrupt": 0.5,
        "timeout": 300.0,
        "file_timeout": 600.0,
        "nonfinite": "skip",
        "log_every": 3,
        "show_every": 4,
        "val_every": 5,
        "watch": 6,
        "save_every": 6,
        "keep": 7,
    }
    assert {*changed, "log"} == set(CHANGEABLE)  # log: tests/train/test_loggers.py
    other = replace(how, clips=1, crops="ten", select="last", train=replace(CONFIG, **changed))
    found = evaluate_finetune(away, data, other, resume=True, device="cpu", quiet=True)
    assert found.settings["steps"] == 2
    assert "1 clips x 10 crop(s)" in found.protocol
    with pytest.raises(
        VidsslError, match=r"finetune: resume: .*move it away: finetune.freeze: \[\] then, \['stem'\] now"
    ):
        evaluate_finetune(away, data, replace(other, freeze=("stem",)), resume=True, device="cpu", quiet=True)


def test_a_resumed_run_keeps_the_order_of_its_classes(away: TrainedRun, data: Splits) -> None:
    """Numbers are sorted by value; a head that was trained with another order of its outputs keeps it."""
    names = {"a": "10", "b": "2", "c": "1"}

    def numbered(part: VideoIndex) -> VideoIndex:
        return with_columns(part, {"label": [names[str(one)] for one in part.column("label").to_pylist()]})

    data = replace(data, train=numbered(data.train), test=numbered(data.test))
    how = FineTune(clips=1, train=replace(CONFIG, steps=1))
    assert evaluate_finetune(away, data, how, device="cpu", quiet=True).detail["confusion"]["checkpoint"][
        "classes"
    ] == ["1", "2", "10"]
    folder = away.folder / "finetune" / "checkpoint"
    for path in (folder / "run.json", checkpoint.find(folder) / "meta.json"):  # as an older version wrote it
        meta = json.loads(path.read_text())
        meta["classes"] = meta["fixed"]["finetune.classes"] = ["1", "10", "2"]
        path.write_text(json.dumps(meta))
    longer = replace(how, train=replace(CONFIG, steps=2))
    found = evaluate_finetune(away, data, longer, resume=True, device="cpu", quiet=True)
    assert found.detail["confusion"]["checkpoint"]["classes"] == ["1", "10", "2"]


def test_a_cosine_schedule_keeps_its_length(away: TrainedRun, data: Splits) -> None:
    how = FineTune(clips=1, train=replace(CONFIG, steps=1, schedule="cosine"))
    evaluate_finetune(away, data, how, device="cpu", quiet=True)
    longer = replace(how, train=replace(how.train, steps=2))
    with pytest.raises(VidsslError, match=r"train.steps: 1 then, 2 now"):
        evaluate_finetune(away, data, longer, resume=True, device="cpu", quiet=True)


def test_a_resumed_run_keeps_the_decoder(away: TrainedRun, data: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """decode="auto" is not chosen anew; corrupt windows are written to the run's folder, as in training."""
    asked: list[dict[str, Any]] = []
    real = Loader.__init__

    def spy(self: Loader, *positional: Any, **settings: Any) -> None:
        asked.append(settings)
        real(self, *positional, **settings)

    monkeypatch.setattr(Loader, "__init__", spy)
    how = FineTune(clips=1, train=replace(CONFIG, steps=1))
    evaluate_finetune(away, data, how, device="cpu", quiet=True)
    longer = replace(how, train=replace(CONFIG, steps=2))
    evaluate_finetune(away, data, longer, resume=True, device="cpu", quiet=True)
    assert [settings["decode"] for settings in asked] == ["auto", "cpu"]
    assert asked[1]["quarantine"] == away.folder / "finetune" / "checkpoint" / "quarantine.jsonl"


def test_a_run_that_ended_before_its_first_checkpoint_is_resumed(
    away: TrainedRun, data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = FineTune(clips=1, train=replace(CONFIG, steps=2))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", lambda self: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            evaluate_finetune(away, data, how, device="cpu", quiet=True)
    assert evaluate_finetune(away, data, how, resume=True, device="cpu", quiet=True).settings["steps"] == 2


def test_clips_of_one_window_follow_each_other(away: TrainedRun, data: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Batch] = []
    real = Stepper.backward

    def spy(self: Stepper, batch: Batch, step: int) -> StepResult:
        batches.append(batch)
        return real(self, batch, step)

    monkeypatch.setattr(Stepper, "backward", spy)
    how = FineTune(clips=1, train=replace(CONFIG, steps=3, batch_size=4, tuples_per_window=2))
    evaluate_finetune(away, data, how, device="cpu", quiet=True)
    for batch in batches:
        assert torch.equal(batch.frame[::2], batch.frame[1::2])
        assert torch.equal(batch.video[::2], batch.video[1::2])
        assert batch.video[0] != batch.video[2]
    assert any(not torch.equal(batch.clips[0], batch.clips[1]) for batch in batches)  # each clip has a crop of its own


def test_a_run_with_group_norm_is_found_again(index: VideoIndex, recipe: Recipe, data: Splits, tmp_path: Path) -> None:
    grouped = replace(recipe, train=replace(recipe.train, norm="group"))
    train(grouped, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    evaluate_finetune(
        load_run(tmp_path / "run"), data, FineTune(clips=1, train=replace(CONFIG, steps=1)), device="cpu", quiet=True
    )
    _, again = trained_encoder(checkpoint.find(tmp_path / "run" / "finetune" / "checkpoint"))
    assert again.train.norm == "group"


def test_another_norm_than_the_run_has_is_refused(away: TrainedRun, data: Splits) -> None:
    how = FineTune(train=replace(CONFIG, norm="group"))
    with pytest.raises(VidsslError, match="norm='group': the run's encoder has norm='batch'; leave norm out"):
        evaluate_finetune(away, data, how, device="cpu", quiet=True)


def test_from_scratch_begins_as_the_run_began(away: TrainedRun, data: Splits) -> None:
    """Also if the seed of fine-tuning is another one."""
    assert CONFIG.seed != away.recipe.train.seed
    how = FineTune(init="scratch", freeze=("stem",), clips=1, train=replace(CONFIG, steps=1))
    evaluate_finetune(away, data, how, device="cpu", quiet=True)
    after = checkpoint.load_weights(checkpoint.find(away.folder / "finetune" / "scratch"), "encoder")
    for name, value in untrained_encoder(away.recipe).state_dict().items():
        assert not name.startswith("stem.") or torch.equal(after[name], value), name


@pytest.mark.parametrize(("select", "tested"), [(None, 4), ("best", 4), ("last", 6)])  # VCOP's authors take the best
def test_the_selected_weights_are_tested(
    select: Any, tested: int, index: VideoIndex, away: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0])  # after steps 2, 4 and 6

    def look(self: Trainer, log: object, *, validates: bool, project: bool) -> bool:
        loss = next(losses)
        if self.best is not None and self.best["val/loss"] <= loss:
            return False
        self.best = {"step": self.step, "val/loss": loss}
        return True

    shown: list[dict[str, torch.Tensor]] = []
    real = extract

    def spy(encoders: list[torch.nn.Module], *rest: Any, **settings: Any) -> list[Features]:
        shown.append(dict(encoders[0][0].state_dict()))  # type: ignore[index]
        return real(encoders, *rest, **settings)

    monkeypatch.setattr(Trainer, "_look", look)
    monkeypatch.setattr(finetune, "extract", spy)
    parts = Splits(train=index.select(range(1, 10)), test=index.select([0]), description="the first video")
    how = FineTune(select=select, clips=1, train=replace(CONFIG, holdout=0.3, val_every=2, save_every=100, keep=1))
    found = evaluate_finetune(away, parts, how, device="cpu", quiet=True)
    path = away.folder / "finetune" / "checkpoint" / "checkpoints" / f"step_{tested:08d}"
    assert (found.settings["tested_step"], found.settings["checkpoint"], found.settings["steps"]) == (
        tested,
        str(path),
        6,
    )
    weights = checkpoint.load_weights(path, "encoder")
    assert all(torch.equal(shown[0][name], weights[name]) for name in weights)
    said = "the weights with the lowest validation loss (step 4 of 6)" if tested == 4 else "the last weights (step 6)"
    assert said in found.protocol


def test_a_run_that_ends_where_it_was_stopped_is_validated(
    away: TrainedRun, data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped before its first validation, and is given an end that it has passed: select=best has one."""
    config = replace(CONFIG, holdout=0.4, val_every=500, save_every=2, steps=4)
    real = Stepper.backward

    def dies(self: Stepper, batch: Batch, step: int) -> StepResult:
        if step == 2:
            raise KeyboardInterrupt
        return real(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "backward", dies)
        with pytest.raises(KeyboardInterrupt):
            evaluate_finetune(away, data, FineTune(clips=2, train=config), device="cpu", quiet=True)
    for _ in range(2):
        how = FineTune(clips=2, select="best", train=replace(config, steps=1))
        found = evaluate_finetune(away, data, how, resume=True, device="cpu", quiet=True)
        assert (found.settings["steps"], found.settings["tested_step"]) == (2, 2)
    logged = [json.loads(line) for line in (away.folder / "finetune/checkpoint/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "val/loss" in line] == [2]  # once


def test_the_share_of_the_largest_class_is_named(
    away: TrainedRun, data: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    how = FineTune(clips=2, train=replace(CONFIG, steps=2))
    found = evaluate_finetune(away, data, how, device="cpu")
    assert "(chance 40.0%)" in capsys.readouterr().out  # two of the five training videos
    assert "the share of the largest class" in found.text()


def test_a_wrong_number_of_clips_is_refused_before_training() -> None:
    for clips in (0, -1, 10**9):
        with pytest.raises(VidsslError, match=r"clips=.*: take a whole number from 1 to 10000"):
            FineTune(clips=clips)
    with pytest.raises(VidsslError, match=r"clips=nan: take a whole number or None$"):
        FineTune(clips=float("nan"))  # type: ignore[arg-type]


def test_a_frozen_encoder_is_named(away: TrainedRun, data: Splits, capsys: pytest.CaptureFixture[str]) -> None:
    how = FineTune(clips=2, freeze=("stem", "stages"), train=replace(CONFIG, steps=1))
    evaluate_finetune(away, data, how, device="cpu")
    assert "parameters of the encoder are frozen: only the head is trained" in capsys.readouterr().out
    how = FineTune(init="scratch", clips=2, freeze=("stem",), train=replace(CONFIG, steps=1))
    evaluate_finetune(away, data, how, device="cpu")
    assert "parameters are trained; the others are frozen" in capsys.readouterr().out


def test_the_best_weights_need_held_out_videos(away: TrainedRun, data: Splits) -> None:
    how = FineTune(select="best", clips=1, train=CONFIG)
    with pytest.raises(VidsslError, match="select='best': holdout=0 leaves no videos to validate on"):
        evaluate_finetune(away, data, how, device="cpu", quiet=True)
    found = evaluate_finetune(
        away, data, replace(how, select=None, train=replace(CONFIG, steps=1)), device="cpu", quiet=True
    )
    assert "the last weights (step 1)" in found.protocol


def test_labels_are_learnt(run: TrainedRun, tmp_path: Path) -> None:
    """Classes that can be seen, on videos that were not trained on."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("mid", 120), ("bright", 210)):
        for number in range(5):
            path = tmp_path / ("test" if number > 2 else "train") / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            frames = np.clip(level + random.normal(0, 12, (20, 48, 64, 3)) + random.normal(0, 6), 0, 255).astype(
                np.uint8
            )
            encode(path, frames, random)
    parts = [VideoIndex.build(tmp_path / part, progress=False) for part in ("train", "test")]
    how = FineTune(
        clips=2, train=replace(CONFIG, steps=60, batch_size=3, lr=0.02, log_every=60, save_every=60, val_every=60)
    )
    away = replace(run, folder=tmp_path / "run")
    found = evaluate_finetune(
        away, Splits(train=parts[0], test=parts[1], description="told apart"), how, device="cpu", quiet=True
    )
    assert found.numbers["fine-tuned"]["accuracy"].value > 0.8


def test_ten_crops_are_the_corners_and_the_centre(index: VideoIndex) -> None:
    """Of pictures that are only cut, not resized, they can be cut out of the decoded frame."""
    row = int(index.usable(30)[0])
    video = index.video(row)
    height, width = video.size
    augment = Augment(resize=(height, width), crop=(32, 32))
    shown = Clips(count=2, length=1, augment=augment, crops="ten").read(video)
    assert shown.shape == (20, 3, 1, 32, 32)
    (whole,) = Clips(count=1, length=1, augment=replace(augment, crop=(height, width))).read(video)
    assert decode(video, np.array([0])).size == (height, width)
    corners = [
        (0, 0),
        (0, width - 32),
        (height - 32, 0),
        (height - 32, width - 32),
        ((height - 32) // 2, (width - 32) // 2),
    ]
    for at, (y, x) in enumerate(corners):
        wanted = whole[:, :, y : y + 32, x : x + 32]
        torch.testing.assert_close(shown[at], wanted, atol=2e-3, rtol=0)
        torch.testing.assert_close(shown[5 + at], wanted.flip(-1), atol=2e-3, rtol=0)


def test_frames_are_tested_as_published(index: VideoIndex, tmp_path: Path, data: Splits) -> None:
    """25 frames a video, ten crops each, where the encoder looks at single frames."""
    recipe = shuffle_learn_tiny()
    recipe = replace(recipe, train=replace(CONFIG, batch_size=4, tuples_per_window=2, steps=1, holdout=0.0))
    train(recipe, index, tmp_path / "run", device="cpu", quiet=True)
    found = evaluate_finetune(
        load_run(tmp_path / "run"), data, FineTune(train=replace(CONFIG, steps=1)), device="cpu", quiet=True
    )
    assert (found.settings["clips"], found.settings["crops"]) == (25, "ten")
    assert "25 frames x 10 crop(s)" in found.protocol


def test_the_command(run: TrainedRun, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.save(run.folder / "index.arrow")
    small = (
        "--batch-size",
        "2",
        "--steps",
        "1",
        "--holdout",
        "0",
        "--amp",
        "off",
        "--workers",
        "1",
        "--device",
        "cpu",
        "--clips",
        "1",
    )
    asked = ["evaluate", "finetune", str(run.path), "--train", str(index.root), "--out", str(tmp_path / "f.json")]
    shutil.rmtree(run.folder / "finetune", ignore_errors=True)
    assert main([*asked, *small, "--freeze", "stem", "--crops", "ten"]) == 0
    assert "fine-tuned" in capsys.readouterr().out
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["settings"]["freeze"], found["settings"]["crops"]) == (["stem"], "ten")
    assert "1 clips x 10 crop(s)" in found["protocol"]
    assert main([*asked, *small]) == 2  # the folder is in use
    assert "not empty; --resume continues" in capsys.readouterr().err


def test_wrong_use_is_named(run: TrainedRun, data: Splits, index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match="leave_group_out=True would train once"):
        evaluate_finetune(
            run,
            Splits(train=index, test=index, description="", leave_group_out=True),
            FineTune(),
            device="cpu",
            quiet=True,
        )
    only = index.select([at for at, label in enumerate(index.column("label").to_pylist()) if label == "a"])
    with pytest.raises(VidsslError, match="2 classes, such as 'b', are not among the training videos"):
        evaluate_finetune(run, Splits(train=only, test=index, description=""), FineTune(), device="cpu", quiet=True)


def test_bfloat16_is_asked_for_before_it_is_used(
    run: TrainedRun, data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(encoder: object, size: object, device: object, *, clips: int, must: bool) -> bool:
        assert (size, clips, must) == (run.recipe.pretext.input, 2, True)
        raise VidsslError("a wrong kernel")

    monkeypatch.setattr(setup, "trains_in_bf16", wrong)
    with pytest.raises(VidsslError, match="a wrong kernel"):
        evaluate_finetune(
            run, data, FineTune(init="scratch", train=replace(CONFIG, amp="bf16")), device="cpu", quiet=True
        )
