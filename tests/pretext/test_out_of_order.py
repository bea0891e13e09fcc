"""Out-of-order frames: which frames a class moves, and what its head makes of the scores of frames."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from vidssl.pretext import OutOfOrder
from vidssl.pretext.heads import FrameHead
from vidssl.types import VidsslError


@pytest.mark.parametrize(("moved", "ways"), [(2, 1), (3, 2), (4, 9)])
def test_a_class_is_the_set_of_frames_that_are_not_in_their_place(moved: int, ways: int) -> None:
    pretext = OutOfOrder(length=6, moved=moved)
    plan = pretext.plan
    assert (plan.slots, plan.times) == (6, 1)
    assert set(Counter(plan.labels.tolist()).values()) == {ways}  # every class is equally frequent
    assert len(np.unique(plan.arrangements, axis=0)) == len(plan.labels)
    for row, label in zip(plan.arrangements[:, :, 0], plan.labels, strict=True):
        assert sorted(row) == list(range(6))
        wrong = np.flatnonzero(row != np.arange(6))
        assert "+".join(map(str, wrong)) == pretext.class_names[label]


def test_clips_are_in_order_in_half_of_the_cases() -> None:
    pretext = OutOfOrder(length=8, stride=2, level="clip")
    plan = pretext.plan
    assert (plan.slots, plan.times, plan.classes, pretext.chance) == (1, 8, 2, 0.5)
    right = (plan.arrangements[:, 0] == np.arange(8)).all(axis=1)
    np.testing.assert_array_equal(plan.labels, 1 - right)


def test_the_likeliest_class_has_the_frames_with_the_largest_scores() -> None:
    torch.manual_seed(0)
    pretext = OutOfOrder(length=6)
    head = pretext.head(8)
    assert isinstance(head, FrameHead)
    features = torch.randn(5, 6, 8)
    scores = head.score(head.transformer(features + head.place))
    wrong = (scores[..., 1] - scores[..., 0]).topk(2).indices.sort().values
    names = ["+".join(map(str, pair)) for pair in wrong.tolist()]
    assert [pretext.class_names[at] for at in head(features).argmax(1)] == names


def test_a_softmax_over_classes_is_that_of_independent_marks() -> None:
    """If every combination of marks is a class, the probabilities of the slots' marks multiply."""
    torch.manual_seed(0)
    marks = np.array([[i, j] for i in range(2) for j in range(2)])
    head = FrameHead(8, marks)
    features = torch.randn(3, 2, 8)
    each = head.score(head.transformer(features + head.place)).softmax(-1)  # [B, K = 2, marks]
    product = (each[:, 0, :, None] * each[:, 1, None, :]).flatten(1)
    torch.testing.assert_close(head(features).softmax(1), product)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"length": 2}, "length=2: take 3 to 16 frames"),
        ({"moved": 1}, "moved=1: take 2 to 4 frames"),
        ({"length": 4, "moved": 4}, "moved=4: take 2 to 3 frames"),
        ({"stride": 0}, "stride=0"),
        ({"level": "video"}, "level='video': take frame or clip"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        OutOfOrder(**setting)
