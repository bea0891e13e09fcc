"""Pace prediction against the published paces, and what must not tell the pace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidssl.pretext import Pace
from vidssl.types import VidsslError


def test_defaults_are_the_published_ones() -> None:
    plan = Pace().plan
    assert (plan.classes, plan.slots, plan.times, plan.stride, plan.span) == (4, 1, 16, 1, 61)
    augment = plan.augment
    assert (augment.crop_scope, augment.flip, augment.color_scope) == ("clip", 0.5, "frame")
    assert (augment.brightness, augment.contrast, augment.saturation) == (0.8, 0.8, 0.8)


@pytest.mark.parametrize(("paces", "stride"), [((1, 2, 4), 1), ((2, 4), 2), ((8, 4), 4), ((2, 3), 1)])
def test_each_class_plays_at_its_pace(paces: tuple[int, ...], stride: int) -> None:
    plan = Pace(clip_length=8, paces=paces).plan
    assert plan.stride == stride
    assert plan.span == 7 * max(paces) + 1  # no longer than the fastest clip
    for row, label in zip(plan.arrangements, plan.labels, strict=True):
        assert (np.diff(row[0]) * stride == paces[label]).all()


def test_all_paces_have_the_same_middle() -> None:
    """The place in the window does not tell the pace."""
    plan = Pace(clip_length=9, paces=(1, 2, 4)).plan
    assert {float(row.mean()) for row in plan.arrangements} == {(plan.length - 1) / 2}


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"clip_length": 1}, "clip_length=1: take at least 2, and at most "),
        ({"paces": (2,)}, r"paces=\(2,\): take at least two different paces"),
        ({"paces": (1, 1)}, r"paces=\(1, 1\)"),
        ({"paces": (0, 1)}, r"paces=\(0, 1\)"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        Pace(**setting)
