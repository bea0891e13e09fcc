"""Learning rates are functions of the step, and those that PyTorch's own schedulers compute."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from vidssl.train.config import TrainConfig
from vidssl.train.schedule import Schedule
from vidssl.types import VidsslError

TOTAL, EPOCH = 50, 5


def schedule(**settings: Any) -> Schedule:
    return Schedule(TrainConfig(lr=0.5, **settings), total=TOTAL, epoch=EPOCH)


def test_as_without_a_warm_up() -> None:
    """To the bit, as before there was one."""
    assert [schedule()(step) for step in (0, 99)] == [0.5, 0.5]
    steps = schedule(schedule="step", milestones=(10, 20))
    assert [steps(step) for step in (9, 10, 20)] == [0.5 * 0.1**n for n in (0, 1, 2)]
    cosine = schedule(schedule="cosine")
    for step in range(2 * TOTAL):
        assert cosine(step) == 0.5 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / TOTAL)))


@pytest.mark.parametrize(("warmup", "floor"), [(0, 0.0), (7, 0.0), (10, 0.1)])
def test_warm_up_and_cosine_as_pytorch_has_them(warmup: int, floor: float) -> None:
    ours = schedule(schedule="cosine", warmup_steps=warmup, lr_floor=floor)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    theirs: Any = CosineAnnealingLR(optimizer, TOTAL - warmup, eta_min=floor)
    if warmup:
        rise = LinearLR(optimizer, 1 / warmup, 1.0, warmup - 1)
        theirs = SequentialLR(optimizer, [rise, theirs], [warmup])
    for step in range(TOTAL):
        assert math.isclose(ours(step), optimizer.param_groups[0]["lr"], rel_tol=1e-9), step
        optimizer.step()
        theirs.step()
    assert ours(TOTAL) == ours(2 * TOTAL) == floor


def test_a_warm_up_rises_in_equal_steps() -> None:
    rates = [schedule(warmup_steps=4)(step) for step in range(6)]
    assert rates == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    both = schedule(warmup_steps=4, schedule="step", milestones=(2,))
    assert [both(step) for step in range(5)] == pytest.approx([0.125, 0.25, 0.0375, 0.05, 0.05])


def test_epochs_are_counted_in_steps() -> None:
    epochs, steps = (schedule(schedule="cosine", **one) for one in ({"warmup_epochs": 2}, {"warmup_steps": 2 * EPOCH}))
    assert [epochs(step) for step in range(TOTAL)] == [steps(step) for step in range(TOTAL)]


def test_a_warm_up_longer_than_the_run_is_named() -> None:
    with pytest.raises(VidsslError, match=r"warmup_epochs=10: the warm-up takes 50 steps and the run 50"):
        schedule(schedule="cosine", warmup_epochs=10)
    with pytest.raises(VidsslError, match=r"warmup_steps=60: the warm-up takes 60 steps"):
        schedule(schedule="cosine", warmup_steps=60)
    assert schedule(warmup_steps=60)(29) == 0.25
