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
from vidssl.train.step import Stepper, make_optimizer, step_seed
from vidssl.types import Batch

CPU = ProcessGroup(device=torch.device("cpu"))
PRETEXT = Vcop(clip_length=8, interval=2, dropout=0.0, augment=Augment(resize=(24, 32), crop=(16, 16)))


def stepper(**settings: Any) -> Stepper:
    torch.manual_seed(0)
    config = TrainConfig(norm="group", **settings)
    return Stepper(build_model(PRETEXT, "r3d_tiny", norm="group"), config, CPU, amp=False, total=100)


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
    assert stepper(lr=0.5).learning_rate(99) == 0.5
    steps = stepper(lr=0.5, schedule="step", milestones=(10, 20))
    assert [steps.learning_rate(step) for step in (9, 10, 20)] == pytest.approx([0.5, 0.05, 0.005])
    cosine = stepper(lr=0.5, schedule="cosine")
    assert [cosine.learning_rate(step) for step in (0, 50, 100, 150)] == pytest.approx([0.5, 0.25, 0.0, 0.0])


def test_weights_move_by_the_learning_rate() -> None:
    one = stepper(lr=0.1, momentum=0.0, weight_decay=0.0, schedule="step", milestones=(5,))
    one.backward(batch([0, 0]), 5)
    before = [parameter.detach().clone() for parameter in one.model.parameters()]
    moved = gradients(one)
    one.update(5)
    for old, gradient, new in zip(before, moved, one.model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old - 0.01 * gradient)


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
    one = Stepper(build_model(recipe.pretext, recipe.encoder), config, CPU, amp=False, total=1)
    biases = one.optimizer.param_groups[1]["params"]
    assert [tuple(bias.shape) for bias in biases] == [(512,)]  # of the layer before the classifier; norms keep theirs


def test_seeds_differ_by_seed_step_and_rank() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(30) for rank in range(3)}
    assert len(seeds) == 270
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(1, 2, 3) == step_seed(1, 2, 3)
