"""Training several tasks at once: the loss is the weighted sum, each task is logged, and a resumed run is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional

from tests.pretext.tasks import Fast, Reversed
from tests.train.processes import lines, steady
from vidssl.cli import main
from vidssl.evaluate.accuracy import evaluate_pretext, pretext_accuracy
from vidssl.evaluate.audit import audit
from vidssl.evaluate.run import View, load_run, trained_model
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.pretext import METHODS, Joint, Vcop, build_model, register
from vidssl.report import write_report
from vidssl.report.table import find_runs, text
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.distributed import ProcessGroup
from vidssl.train.metrics import Metrics, TaskMetrics
from vidssl.train.schedule import Schedule
from vidssl.train.step import Stepper, StepResult
from vidssl.train.train import train
from vidssl.types import Batch, VidsslError

CPU = ProcessGroup(device=torch.device("cpu"))
AUGMENT = Augment(resize=(24, 32), crop=(16, 16))
WEIGHTS = (1.0, 0.5, 2.0)
JOINT = Joint(
    tasks=(Vcop(clip_length=8, interval=2, dropout=0.0), Fast(clip_length=8), Reversed(clip_length=8)),
    weights=WEIGHTS,
    augment=AUGMENT,
)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(Fast)
    register(Reversed)
    yield
    del METHODS["fast"], METHODS["reversed"]


@pytest.fixture
def joint(recipe: Recipe) -> Recipe:
    return replace(recipe, pretext=JOINT)


def stepper(*, weights: tuple[float, ...] = WEIGHTS, norm: str = "group") -> Stepper:
    torch.manual_seed(0)
    model = build_model(replace(JOINT, weights=weights), "r3d_tiny", norm=norm)
    config = TrainConfig(norm="group")
    return Stepper(model, config, CPU, amp=False, schedule=Schedule(config, total=100, epoch=10))


def batch(status: list[list[int]]) -> Batch:
    random = torch.Generator().manual_seed(1)
    count = len(status)
    clips = torch.randn(count, 6, 3, 8, 16, 16, generator=random)
    label = torch.stack([torch.arange(count) % classes for classes in (6, 2, 3)], dim=1)
    number = torch.zeros(count, dtype=torch.int64)
    return Batch(clips, label, number, torch.zeros(count, 6, 8, dtype=torch.int64), torch.tensor(status), number)


def test_the_loss_is_the_weighted_sum_of_the_means_over_kept_tuples() -> None:
    shown = batch([[0, 0, 0], [0, 1, 0], [0, 0, 2], [0, 0, 0]])
    one, other = stepper(), stepper()
    result = one.backward(shown, 0)
    logits = other.model.train()(shown.clips)
    parts = torch.split(logits, [6, 2, 3], dim=1)
    kept = shown.status == 0
    total = torch.zeros(())
    for at, (part, weight) in enumerate(zip(parts, WEIGHTS, strict=True)):
        total = total + weight * functional.cross_entropy(part[kept[:, at]], shown.label[kept[:, at], at])
    total.backward()
    for mine, wanted in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, rtol=1e-4, atol=1e-6)
    assert torch.equal(result.kept, kept)
    means = [float(result.loss[kept[:, at], at].mean()) for at in range(3)]
    sums = TaskMetrics(JOINT.objectives, torch.device("cpu"))
    sums.add(result.logits, result.label, result.loss, result.kept)
    sums.step(result.grad_norm)
    values = sums.total(CPU).values()
    assert values["loss"] == pytest.approx(float(total.detach()), rel=1e-5)
    assert [values[f"loss/{name}"] for name in ("vcop", "fast", "reversed")] == pytest.approx(means, rel=1e-5)
    assert [values[f"kept/{name}"] for name in ("vcop", "fast", "reversed")] == [4, 3, 3]
    assert values["rejected"] == pytest.approx(2 / 12)
    assert "accuracy" not in values
    right = (parts[1].argmax(1) == shown.label[:, 1])[kept[:, 1]]
    assert values["accuracy/fast"] == pytest.approx(float(right.float().mean()))


def test_a_weight_scales_the_gradient_of_its_head_alone() -> None:
    shown = batch([[0, 0, 0]] * 4)
    one, other = stepper(weights=(1.0, 1.0, 1.0)), stepper(weights=(1.0, 3.0, 1.0))
    one.backward(shown, 0)
    other.backward(shown, 0)
    others = dict(other.model.named_parameters())
    for name, mine in one.model.named_parameters():
        if name.startswith("head."):
            factor = 3.0 if ".fast." in name else 1.0
            assert mine.grad is not None
            torch.testing.assert_close(factor * mine.grad, others[name].grad, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_is_the_same_bit_for_bit(
    joint: Recipe, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    joint = replace(joint, train=replace(joint.train, val_every=8))
    train(joint, index, whole, steps=8, device="cpu", quiet=True)
    backward = Stepper.backward

    def stops(self: Stepper, batch: Batch, step: int) -> StepResult:
        if step == 5:
            raise InterruptedError
        return backward(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "backward", stops)
        with pytest.raises(VidsslError):
            train(joint, index, parts, steps=8, device="cpu", quiet=True)
    assert checkpoint.find(parts).name == "step_00000003"  # between two lines of the log
    train(joint, index, parts, steps=8, resume=True, device="cpu", quiet=True)
    assert steady(whole) == steady(parts)
    paths = [checkpoint.find(out) for out in (whole, parts)]
    for part in ("encoder", "head"):
        weights = [checkpoint.load_weights(path, part) for path in paths]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    heavier = replace(joint, pretext=replace(JOINT, weights=(1.0, 1.0, 1.0)))
    with pytest.raises(VidsslError, match=r"pretext.weights: \[1.0, 0.5, 2.0\] then, \[1.0, 1.0, 1.0\] now"):
        train(heavier, index, parts, steps=9, resume=True, device="cpu", quiet=True)
    wide = replace(JOINT, tasks=(Vcop(clip_length=8, interval=3, dropout=0.0), *JOINT.tasks[1:]))
    slower = replace(joint, pretext=wide)
    with pytest.raises(VidsslError, match=r"pretext.tasks.vcop.interval: 2 then, 3 now"):
        train(slower, index, parts, steps=9, resume=True, device="cpu", quiet=True)


def test_sums_of_a_single_task_from_an_older_checkpoint_are_read() -> None:
    (alone,) = Vcop().objectives
    one, old = TaskMetrics([alone], torch.device("cpu")), Metrics(6, torch.device("cpu"))
    old.add(torch.eye(6), torch.arange(6), torch.ones(6), torch.ones(6, dtype=torch.bool))
    one.load_state_dict(old.state_dict())
    assert torch.equal(one.each[0].sums, old.sums)
    assert torch.equal(one.confusion, old.confusion)


def test_every_task_is_logged(
    joint: Recipe, index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    joint = replace(joint, train=replace(joint.train, show_every=2))
    train(joint, index, out, steps=4, device="cpu")
    said = capsys.readouterr().out
    assert "fast accuracy" in said
    assert "(chance 16.7%)" in said
    assert "reversed val accuracy" in said
    logged = lines(out)
    trained = next(line for line in logged if "train/loss" in line)
    val = next(line for line in logged if "val/loss" in line)
    for line, part in ((trained, "train"), (val, "val")):
        total = sum(
            weight * line[f"{part}/loss/{name}"]
            for weight, name in zip(WEIGHTS, ("vcop", "fast", "reversed"), strict=True)
        )
        assert line[f"{part}/loss"] == pytest.approx(total)
        assert f"{part}/accuracy" not in line
        assert 0 <= line[f"{part}/accuracy/fast"] <= 1
        assert len(line[f"{part}/confusion"]) == 11
    assert val["val/tuples/reversed"] == 2
    board = EventAccumulator(str(out), size_guidance={"images": 0})
    board.Reload()
    tags = board.Tags()
    assert {"train/loss/vcop", "val/accuracy/reversed", "train/loss"} <= set(tags["scalars"])
    assert "train/tuples" in tags["images"]
    assert any(tag.startswith("train_class_accuracy/fast ") for tag in tags["scalars"])
    page = write_report([out], tmp_path / "report.html").read_text()
    assert "val/accuracy/fast" in page
    assert "vcop+fast+reversed" in page
    assert "vcop+fast+reversed  r3d_tiny" in text(find_runs(tmp_path))


def test_a_joint_run_is_evaluated_in_each_of_its_tasks(joint: Recipe, index: VideoIndex, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(joint, index, out, steps=2, device="cpu", quiet=True)
    found = evaluate_pretext(load_run(out), index, tuples=2, device="cpu", workers=1)
    assert set(found.numbers["trained"]) == {
        f"{what}/{task.name}" for task in JOINT.tasks for what in ("accuracy", "balanced")
    }
    assert found.numbers["chance"]["balanced/vcop"].value == pytest.approx(1 / 6)
    assert 1 / 6 < found.numbers["chance"]["accuracy/vcop"].value < 1 / 2  # of one answer to the 18 tuples
    assert found.counts == {"tuples": 3 * 18, "videos": 9, "classes": 11}
    clips, alone = (View().of(one) for one in (joint, replace(joint, pretext=JOINT.tasks[0])))
    assert (clips.length, clips.stride, clips.augment) == (alone.length, alone.stride, alone.augment)
    with pytest.raises(VidsslError, match="audit a recipe of each of these tasks, without a run"):
        audit(joint, index, device="cpu", progress=False)
    with pytest.raises(VidsslError, match="it has no single chance"):
        pretext_accuracy(trained_model(checkpoint.find(out))[0], index)


def test_the_command_joins_tasks(index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    options = ["--clip-length", "8", "--interval", "2", "--resize", "24", "32", "--crop", "16", "16", "--device", "cpu"]
    options += ["--batch-size", "4", "--steps", "2", "--amp", "off", "--workers", "1", "--threads", "1"]
    command = ["train", "vcop_r3d_tiny", "--data", str(index.root), "--out", str(out), *options]
    tasks = ["--pretext", "vcop, pace,arrow ", "--task-weights", "1", "0.5", "0.25"]
    assert main([*command, *tasks]) == 0
    recipe = load_run(out).recipe
    assert recipe.pretext.name == "vcop+pace+arrow"
    assert [one.weight for one in recipe.pretext.objectives] == [1.0, 0.5, 0.25]
    assert [part.span for part in recipe.pretext.plan.parts] == [28, 29, 8]  # pace needs the longest window
    assert main([*command, *tasks, "--steps", "3", "--resume"]) == 0
    assert main([*command, "--steps", "4", "--resume"]) == 0  # its tasks are the run's
    assert load_run(out).recipe.pretext == recipe.pretext
    capsys.readouterr()
    assert main([*command, "--pretext", "vcop,pace", "--resume"]) == 2
    assert "method: 'vcop+pace+arrow' in the run, 'vcop+pace' here" in capsys.readouterr().err
    assert main([*command, *tasks[:2], "--task-weights", "1", "1", "1", "--resume"]) == 2
    assert "pretext.weights: [1.0, 0.5, 0.25] in the run, [1.0, 1.0, 1.0] here" in capsys.readouterr().err
    assert main([*command, "--task-weights", "1"]) == 2
    assert "name the tasks with --pretext" in capsys.readouterr().err
    assert main([*command, "--pretext", "vcop,nonsense"]) == 2
    assert "'nonsense' is not known; take some of" in capsys.readouterr().err
