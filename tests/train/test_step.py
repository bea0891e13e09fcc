"""One step: the mean over kept tuples, whatever the parts; learning rates and seeds are functions of the step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vidssl.kernels.augment import Augment
from vidssl.pretext import Vcop, build_model
from vidssl.recipes import RECIPES
from vidssl.train.config import TrainConfig
from vidssl.train.distributed import ProcessGroup
from vidssl.train.optimizer import make_optimizer
from vidssl.train.schedule import Schedule
from vidssl.train.step import Stepper, step_seed
from vidssl.types import Batch

CPU = ProcessGroup(device=torch.device("cpu"))
PRETEXT = Vcop(clip_length=8, interval=2, dropout=0.0, augment=Augment(resize=(24, 32), crop=(16, 16)))


def stepper(epoch: int = 10, **settings: Any) -> Stepper:
    torch.manual_seed(0)
    config = TrainConfig(norm="group", **settings)
    schedule = Schedule(config, total=100, epoch=epoch)
    return Stepper(build_model(PRETEXT, "r3d_tiny", norm="group"), config, CPU, amp=False, schedule=schedule)


def batch(status: list[int]) -> Batch:
    random = torch.Generator().manual_seed(1)
    count = len(status)
    clips = torch.randn(count, 3, 3, 8, 16, 16, generator=random)
    label, number = torch.arange(count) % 6, torch.zeros(count, dtype=torch.int64)
    frame = torch.zeros(count, 3, 8, dtype=torch.int64)
    return Batch(clips, label, number, frame, torch.tensor(status, dtype=torch.int32), number)


def gradients(one: Stepper) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in one.model.parameters() if parameter.grad is not None]


def test_parts_give_the_gradients_of_the_whole() -> None:
    whole, parts = stepper(batch_size=4), stepper(batch_size=4, accumulate=2)
    a, b = whole.backward(batch([0, 0, 0, 0]), 0), parts.backward(batch([0, 0, 0, 0]), 0)
    torch.testing.assert_close(a.loss, b.loss)
    torch.testing.assert_close(a.grad_norm, b.grad_norm)
    for one, other in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_tuples_outside_the_limits_do_not_count() -> None:
    some, few = stepper(), stepper()
    result = some.backward(batch([0, 1, 0, 2]), 0)
    assert result.kept.flatten().tolist() == [True, False, True, False]
    all_four = batch([0, 0, 0, 0])
    few.backward(Batch(*(field[[0, 2]] for field in all_four)), 0)
    for one, other in zip(gradients(some), gradients(few), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_learning_rates_are_functions_of_the_step() -> None:
    assert stepper(lr=0.5).schedule(99) == 0.5
    steps = stepper(lr=0.5, schedule="step", milestones=(10, 20))
    assert [steps.schedule(step) for step in (9, 10, 20)] == pytest.approx([0.5, 0.05, 0.005])
    cosine = stepper(lr=0.5, schedule="cosine")
    assert [cosine.schedule(step) for step in (0, 50, 100, 150)] == pytest.approx([0.5, 0.25, 0.0, 0.0])


def test_weights_move_by_the_learning_rate() -> None:
    one = stepper(lr=0.1, momentum=0.0, weight_decay=0.0, schedule="step", milestones=(5,))
    one.backward(batch([0, 0]), 5)
    before = [parameter.detach().clone() for parameter in one.model.parameters()]
    moved = gradients(one)
    one.update(5)
    for old, gradient, new in zip(before, moved, one.model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old - 0.01 * gradient)


def test_gradients_are_clipped_to_the_norm() -> None:
    free, clipped = stepper(), stepper(clip_norm=0.01)
    norms = [one.backward(batch([0, 0, 0, 0]), 0).grad_norm for one in (free, clipped)]
    assert torch.equal(norms[0], norms[1])  # the log has the norm before clipping
    before, after = gradients(free), gradients(clipped)
    norm = torch.cat([one.flatten() for one in before]).double().norm()
    torch.testing.assert_close(norms[0].double(), norm, rtol=1e-5, atol=0)
    assert norm > 0.01
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one * 0.01 / norms[0], other, rtol=1e-4, atol=1e-9)
    loose = stepper(clip_norm=1000.0)
    loose.backward(batch([0, 0, 0, 0]), 0)
    assert all(torch.equal(one, other) for one, other in zip(before, gradients(loose), strict=True))


def test_each_layer_moves_by_its_own_rate() -> None:
    """Plain SGD: each weight moves by the rate of the step, times the factor of its layer, along its gradient."""
    one = stepper(lr=0.1, momentum=0.0, weight_decay=0.0, layer_decay=0.5, warmup_steps=4)
    before = {name: weight.detach().clone() for name, weight in one.model.named_parameters()}
    one.backward(batch([0, 0]), 1)
    moved = {name: weight.grad.clone() for name, weight in one.model.named_parameters() if weight.grad is not None}
    one.update(1)
    after = dict(one.model.named_parameters())
    for name, rate in (("head.pair.weight", 0.05), ("encoder.stages.3.conv1.weight", 0.025)):
        torch.testing.assert_close(after[name].detach(), before[name] - rate * moved[name])
    name = "encoder.stem.0.weight"
    torch.testing.assert_close(after[name].detach(), before[name] - 0.05 / 32 * moved[name])


def test_biases_as_in_caffe() -> None:
    model = torch.nn.Linear(2, 3)
    others, biases = make_optimizer(model, TrainConfig(caffe_bias=True, weight_decay=0.1)).param_groups
    assert (others["params"], others["factor"], others["weight_decay"]) == ([model.weight], 1.0, 0.1)
    assert (biases["params"], biases["factor"], biases["weight_decay"]) == ([model.bias], 2.0, 0.0)
    assert isinstance(make_optimizer(model, TrainConfig(optimizer="adamw")), torch.optim.AdamW)


# In train_opn.prototxt, biases of conv1 .. conv5, fc6 and fc7 have lr_mult 2 and decay_mult 0; Scale layers and fc8
# have no multipliers. In tuple_train.prototxt, fc8 has them too, and no Scale layer exists.
CONVS = {f"encoder.convs.conv{at}.bias" for at in range(1, 6)}
DOUBLED = {
    "opn_caffenet": {*CONVS, "encoder.dense.fc6.bias", "head.pair.bias"},
    "shuffle_learn_caffenet": {*CONVS, "encoder.dense.fc6.bias", "encoder.dense.fc7.bias", "head.1.bias"},
}


@pytest.mark.parametrize("name", DOUBLED)
def test_biases_learn_as_published(name: str) -> None:
    recipe = RECIPES[name]()
    with torch.device("meta"):
        model = build_model(recipe.pretext, recipe.encoder)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights, biases = make_optimizer(model, recipe.train, plain=model.plain_biases).param_groups
    assert {names[id(parameter)] for parameter in biases["params"]} == DOUBLED[name]
    assert (biases["factor"], biases["weight_decay"]) == (2.0, 0.0)
    assert {names[id(parameter)] for parameter in weights["params"]} == set(names.values()) - DOUBLED[name]
    assert (weights["factor"], weights["weight_decay"]) == (1.0, 5e-4)


def test_the_stepper_passes_the_models_plain_biases_on() -> None:
    recipe = RECIPES["opn_tiny"]()
    config = replace(recipe.train, caffe_bias=True)
    one = Stepper(
        build_model(recipe.pretext, recipe.encoder), config, CPU, amp=False, schedule=Schedule(config, total=1, epoch=1)
    )
    biases = one.optimizer.param_groups[1]["params"]
    assert [tuple(bias.shape) for bias in biases] == [(512,)]  # of the layer before the classifier; norms keep theirs


def test_seeds_differ_by_seed_step_and_rank() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(30) for rank in range(3)}
    assert len(seeds) == 270
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(1, 2, 3) == step_seed(1, 2, 3)
