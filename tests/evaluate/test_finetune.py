"""Fine-tuning learns with labels, from a checkpoint or from scratch, leaves frozen parts as they are, and goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.demo.render import encode
from vidssl.evaluate import finetune as module
from vidssl.evaluate.features import Clips, extract
from vidssl.evaluate.finetune import Classifier, FineTune, evaluate_finetune
from vidssl.evaluate.parts import Parts
from vidssl.evaluate.trained import Trained, open_run, trained_encoder
from vidssl.models import r3d_tiny
from vidssl.recipes import shuffle_learn_tiny
from vidssl.stages.decode import decode
from vidssl.stages.plan import Augment
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.loop import train

CONFIG = TrainConfig(batch_size=2, lr=0.02, amp="off", holdout=0.0, workers=1, steps=6, log_every=2, save_every=3, val_every=3, seed=3)


@pytest.fixture(scope="module")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("run")
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    return open_run(out)


@pytest.fixture(scope="module")
def data(index: VideoIndex) -> Parts:
    return Parts(known=index.select(range(0, 10, 2)), asked=index.select(range(1, 10, 2)), split="every other video")


def test_frozen_parts_stay_and_the_others_learn(run: Trained, data: Parts) -> None:
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
    assert written["counts"] == {"videos to learn from": 5, "to test": 5, "classes": 3}
    assert (folder / "metrics.jsonl").is_file()
    assert trained_encoder(checkpoint.find(folder))[1].encoder == "r3d_tiny"  # it can be evaluated like any other run


def test_going_on_gives_the_same_bits(run: Trained, data: Parts) -> None:
    how = FineTune(init="scratch", clips=2, train=CONFIG)
    evaluate_finetune(run, data, replace(how, train=replace(CONFIG, steps=3)), device="cpu", quiet=True)
    with pytest.raises(VidsslError, match="holds a fine-tuned run; --resume continues it"):
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


def test_labels_are_learnt(run: Trained, tmp_path: Path) -> None:
    """Classes that can be seen, on videos that were not trained on."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("mid", 120), ("bright", 210)):
        for number in range(5):
            path = tmp_path / ("test" if number > 2 else "train") / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            frames = np.clip(level + random.normal(0, 12, (20, 48, 64, 3)) + random.normal(0, 6), 0, 255).astype(np.uint8)
            encode(path, frames, random)
    parts = [VideoIndex.build(tmp_path / part, progress=False) for part in ("train", "test")]
    how = FineTune(clips=2, train=replace(CONFIG, steps=60, batch_size=3, lr=0.02, log_every=60, save_every=60, val_every=60))
    away = replace(run, folder=tmp_path / "run")
    found = evaluate_finetune(away, Parts(known=parts[0], asked=parts[1], split="told apart"), how, device="cpu", quiet=True)
    assert found.numbers["fine-tuned"]["right"].value > 0.8


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
    corners = [(0, 0), (0, width - 32), (height - 32, 0), (height - 32, width - 32), ((height - 32) // 2, (width - 32) // 2)]
    for at, (y, x) in enumerate(corners):
        wanted = whole[:, :, y : y + 32, x : x + 32]
        torch.testing.assert_close(shown[at], wanted, atol=2e-3, rtol=0)
        torch.testing.assert_close(shown[5 + at], wanted.flip(-1), atol=2e-3, rtol=0)


def test_answers_are_averaged_over_views(index: VideoIndex) -> None:
    model = Classifier(r3d_tiny(), lambda clips: clips, 3, ()).eval()
    clips = Clips(count=2, length=8, augment=Augment(resize=(24, 32), crop=(16, 16)), crops="ten")
    (found,) = extract([torch.nn.Sequential(model.encoder, model.head)], index.select([0]), clips, progress=False)
    with torch.no_grad():
        views = clips.read(index.video(0))
        torch.testing.assert_close(found.feature[0], model(views[:, None]).mean(0))


def test_frames_are_tested_as_published(index: VideoIndex, tmp_path: Path, data: Parts) -> None:
    """25 frames a video, ten crops each, where the encoder looks at single frames."""
    recipe = shuffle_learn_tiny()
    recipe = replace(recipe, train=replace(CONFIG, batch_size=4, tuples_per_window=2, steps=1, holdout=0.0))
    train(recipe, index, tmp_path / "run", device="cpu", quiet=True)
    found = evaluate_finetune(open_run(tmp_path / "run"), data, FineTune(train=replace(CONFIG, steps=1)), device="cpu", quiet=True)
    assert (found.settings["clips"], found.settings["crops"]) == (25, "ten")
    assert "25 frames x 10 crop(s)" in found.protocol


def test_the_command(run: Trained, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index.save(run.folder / "index.arrow")
    small = ("--batch-size", "2", "--steps", "1", "--holdout", "0", "--amp", "off", "--workers", "1", "--device", "cpu", "--clips", "1")
    asked = ["evaluate", "finetune", str(run.path), "--train", str(index.root), "--out", str(tmp_path / "f.json")]
    shutil.rmtree(run.folder / "finetune", ignore_errors=True)
    assert main([*asked, *small, "--freeze", "stem", "--crops", "ten"]) == 0
    assert "fine-tuned" in capsys.readouterr().out
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["settings"]["freeze"], found["settings"]["crops"]) == (["stem"], "ten")
    assert "1 clips x 10 crop(s)" in found["protocol"]
    assert main([*asked, *small]) == 2  # the folder is in use
    assert "holds a fine-tuned run" in capsys.readouterr().err


def test_wrong_use_is_named(run: Trained, data: Parts, index: VideoIndex) -> None:
    with pytest.raises(VidsslError, match=r"freeze=\['conv1'\]: take some of stem, stem.0"):
        Classifier(r3d_tiny(), lambda clips: clips, 3, ("conv1",))
    with pytest.raises(VidsslError, match="by_group=True would train once"):
        evaluate_finetune(run, Parts(known=index, asked=None, split=""), FineTune(), device="cpu", quiet=True)
    only = index.select([at for at, label in enumerate(index.column("label").to_pylist()) if label == "a"])
    with pytest.raises(VidsslError, match="2 classes, such as 'b', are not among the training videos"):
        evaluate_finetune(run, Parts(known=only, asked=index, split=""), FineTune(), device="cpu", quiet=True)


def test_bfloat16_is_asked_for_before_it_is_used(run: Trained, data: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(encoder: object, size: object, device: object, *, clips: int, must: bool) -> bool:
        assert (size, clips, must) == (run.recipe.pretext.input, 2, True)
        raise VidsslError("a wrong kernel")

    monkeypatch.setattr(module, "trains_in_bf16", wrong)
    with pytest.raises(VidsslError, match="a wrong kernel"):
        evaluate_finetune(run, data, FineTune(init="scratch", train=replace(CONFIG, amp="bf16")), device="cpu", quiet=True)
