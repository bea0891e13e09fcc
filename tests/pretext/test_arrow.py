"""Arrow of time: the same frames in both directions, each as often as the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidssl.pretext import Arrow
from vidssl.types import VidsslError


def test_both_classes_show_the_same_frames() -> None:
    pretext = Arrow(clip_length=8, stride=2)
    plan = pretext.plan
    assert (plan.classes, plan.slots, plan.times, plan.span) == (2, 1, 8, 15)
    forward, backward = plan.arrangements[:, 0]
    np.testing.assert_array_equal(forward, np.arange(8))
    np.testing.assert_array_equal(backward, forward[::-1])
    assert plan.labels.tolist() == [0, 1]
    assert (pretext.class_names, pretext.chance) == (["forward", "backward"], 0.5)


@pytest.mark.parametrize(
    ("setting", "named"), [({"clip_length": 1}, "clip_length=1: take at least 2"), ({"stride": 0}, "stride=0")]
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        Arrow(**setting)
