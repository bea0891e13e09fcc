"""Skip rates: the rate changes once, and each frame's mark is the rate that leads to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidssl.pretext import SkipRate
from vidssl.pretext.heads import FrameHead
from vidssl.types import VidsslError


def test_every_pair_of_rates_changes_at_every_frame() -> None:
    pretext = SkipRate(length=6, rates=(1, 3, 4))
    plan = pretext.plan
    assert (plan.slots, plan.times, plan.classes, plan.span) == (6, 1, 6 * 4, 4 * 4 + 3 + 1)
    found = set()
    for row, name in zip(plan.arrangements[:, :, 0], pretext.class_names, strict=True):
        steps = np.diff(row)
        assert (np.diff(steps) != 0).sum() == 1
        first = int((steps == steps[0]).sum())
        assert name == f"{first}x{steps[0]} {5 - first}x{steps[-1]}"
        found.add((steps[0], steps[-1], first))
        assert abs(row[0] + row[-1] - (plan.length - 1)) <= 1  # in the middle of the window
    assert found == {(a, b, c) for a in (1, 3, 4) for b in (1, 3, 4) if a != b for c in range(1, 5)}


def test_marks_are_the_rates_that_lead_to_each_frame() -> None:
    pretext = SkipRate(length=5, rates=(2, 5))
    head = pretext.head(8)
    assert isinstance(head, FrameHead)
    rates = np.array([2, 5])[head.marks.argmax(-1).numpy()]  # [classes, length]
    steps = np.diff(pretext.plan.arrangements[:, :, 0], axis=1)
    np.testing.assert_array_equal(rates[:, 1:], steps)
    np.testing.assert_array_equal(rates[:, 0], rates[:, 1])


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"length": 2}, "length=2: take 3 to 32 frames"),
        ({"rates": (2,)}, "rates=.*two to eight different rates"),
        ({"rates": (2, 2)}, "two to eight different rates"),
        ({"rates": (0, 2)}, "two to eight different rates"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        SkipRate(**setting)
