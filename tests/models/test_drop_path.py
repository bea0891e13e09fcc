"""Drop path leaves whole samples out, keeps the mean, and does nothing in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidssl.encoders import takes_drop_path
from vidssl.models import ENCODERS, DropPath
from vidssl.models.drop_path import drop_path_rates
from vidssl.types import VidsslError


def test_samples_are_left_out_as_a_whole() -> None:
    torch.manual_seed(0)
    found = DropPath(0.25)(torch.ones(4000, 3, 2))
    assert set(found.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert bool((found == found[:, :1, :1]).all())
    assert abs(float((found[:, 0, 0] == 0).float().mean()) - 0.25) < 0.03
    assert abs(float(found.mean()) - 1) < 0.03


def test_in_evaluation_nothing_is_left_out() -> None:
    branch = torch.randn(5, 3)
    assert torch.equal(DropPath(0.9).eval()(branch), branch)
    assert torch.equal(DropPath(0.0)(branch), branch)


def test_rates_rise_from_block_to_block() -> None:
    assert drop_path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0.0]


def test_a_function_takes_a_rate_or_is_named() -> None:
    def make(channels: int, drop_path: float = 0.0) -> nn.Module:
        return nn.Identity()

    assert takes_drop_path(make, 0.1, "own") == {"drop_path": 0.1}
    assert takes_drop_path(make, None, "own") == {}
    with pytest.raises(VidsslError, match=r"drop_path=0.1: r3d has none; leave it out, or take an encoder that has it"):
        takes_drop_path(ENCODERS["r3d"], 0.1, "r3d")
