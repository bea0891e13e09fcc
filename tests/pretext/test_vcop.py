"""VCOP against the published table, window and head."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from tests.pretext.synthetic import chi_squared
from vidssl import ops
from vidssl.pretext import Vcop
from vidssl.pretext.heads import PairHead
from vidssl.pretext.vcop import orders
from vidssl.types import VidsslError

PUBLISHED = {0: (0, 1, 2), 1: (0, 2, 1), 2: (1, 0, 2), 3: (1, 2, 0), 4: (2, 0, 1), 5: (2, 1, 0)}


def test_label_table_is_the_published_one() -> None:
    plan = Vcop().plan
    assert dict(enumerate(orders(3))) == PUBLISHED
    for row, label in zip(plan.arrangements, plan.labels, strict=True):
        shown = row[:, 0] // 16  # clip that slot k shows
        assert tuple(shown) == PUBLISHED[int(label)]
        np.testing.assert_array_equal(row, shown[:, None] * 16 + np.arange(16))  # a clip's frames stay in order


def test_window_is_the_published_one() -> None:
    plan = Vcop().plan
    assert (plan.span, plan.slots, plan.times, plan.classes) == (64, 3, 16, 6)
    assert (plan.gap, plan.draw, plan.stride, plan.needs_motion) == ((8, 8), "chain", 1, False)
    augment = plan.augment
    assert (augment.resize, augment.crop, augment.crop_scope) == ((128, 171), (112, 112), "clip")
    assert (augment.flip, augment.jitter, augment.brightness, augment.mean, augment.std) == (
        0,
        0,
        0,
        (0, 0, 0),
        (1, 1, 1),
    )


def test_intervals_are_drawn_anew() -> None:
    """Over 16 frames, the place between key frames that are 16 frames apart is the same for every clip."""
    spec = Vcop(clip_length=4, interval=2, interval_max=17).plan
    assert (spec.gap, spec.span) == ((2, 17), 3 * 4 + 2 * 17)
    found = []
    for sample in range(2000):
        drawn = ops.plan(spec, frames=60, size=(112, 112), seed=0, epoch=0, sample=sample)
        first = np.sort(drawn.frame[:, 0])
        found.append(np.diff(first) % 16)
    counts = np.bincount(np.concatenate(found), minlength=16)
    assert chi_squared(counts, np.full(16, counts.sum() / 16)) > 1e-4


@pytest.mark.parametrize(("length", "classes"), [(2, 2), (3, 6), (4, 24), (5, 120)])
def test_every_order_is_a_class_of_its_own(length: int, classes: int) -> None:
    plan = Vcop(tuple_length=length, clip_length=4, interval=2).plan
    assert plan.classes == classes == len({row.tobytes() for row in plan.arrangements})
    assert plan.span == length * 4 + (length - 1) * 2
    assert sorted(plan.labels.tolist()) == list(range(classes))


def test_permuting_slots_permutes_classes_by_the_table() -> None:
    """Showing the slots of class c in the order p is what the table calls class c o p."""
    for c, order in PUBLISHED.items():
        for p in PUBLISHED.values():
            moved = Vcop().plan.arrangements[c][list(p)]
            label = next(k for k, row in enumerate(Vcop().plan.arrangements) if np.array_equal(row, moved))
            assert PUBLISHED[label] == tuple(order[k] for k in p)


def test_head_has_the_published_size_and_pairs() -> None:
    pretext = Vcop()
    head = pretext.head(512)
    assert sum(p.numel() for p in head.parameters()) == 534_022
    assert isinstance(head, PairHead)
    assert head.pairs == [(0, 1), (0, 2), (1, 2)]
    assert head.dropout.p == 0.5


def test_head_computes_what_the_paper_says() -> None:
    torch.manual_seed(0)
    head = Vcop(tuple_length=4).head(5).eval()
    features = torch.randn(2, 4, 5)
    state = head.state_dict()
    parts = [
        torch.relu(torch.cat((features[:, i], features[:, j]), 1) @ state["pair.weight"].T + state["pair.bias"])
        for i, j in combinations(range(4), 2)
    ]
    wanted = torch.cat(parts, 1) @ state["classify.weight"].T + state["classify.bias"]
    torch.testing.assert_close(head(features), wanted)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"tuple_length": 6}, "tuple_length=6"),
        ({"clip_length": 0}, "clip_length=0"),
        ({"interval": -1}, "interval=-1"),
        ({"stride": 0}, "stride=0"),
        ({"interval": 8, "interval_max": 7}, "interval_max=7: take at least interval=8, or None"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        Vcop(**setting)
