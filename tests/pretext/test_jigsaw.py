"""Jigsaw: the pieces of each order, where they are cut, and that space alone can tell an order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.pretext.synthetic import accuracy, chance_bound, noise, plans, still, window
from vidssl.kernels.augment import Augment
from vidssl.pretext import Jigsaw
from vidssl.pretext.jigsaw import ORDERS
from vidssl.types import Plan, VidsslError

SMALL = Augment(resize=(40, 48), crop=(16, 16), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def pieces(plan: Plan) -> tuple[list[int], list[int]]:
    """The cell of each slot, by the middle of its box in a picture of 24 x 32, and its place in time."""
    x, y = (plan.box[:, 0, axis] + plan.box[:, 0, axis + 2] / 2 for axis in range(2))
    cells = (y > 12) * 2 + (x > 16)
    return cells.astype(int).tolist(), np.unique(plan.frame[:, 0], return_inverse=True)[1].tolist()


@pytest.mark.parametrize(("axis", "classes"), [("space", 24), ("time", 24), ("both", 48)])
def test_the_label_is_the_order_of_the_pieces(axis: Any, classes: int) -> None:
    pretext = Jigsaw(axis=axis, clip_length=3, interval=1, interval_max=4, augment=SMALL)
    assert (pretext.plan.classes, len(set(pretext.class_names))) == (classes, classes)
    assert set(Counter(pretext.plan.labels.tolist()).values()) == {1 if axis == "space" else 4}
    video = noise(np.random.default_rng(0), window(pretext) + 5)
    seen = set()
    for plan in plans(pretext, video, 300):
        cells, stretches = pieces(plan)
        shown_axis, order = ("space", cells) if len(set(stretches)) == 1 else ("time", stretches)
        assert pretext.class_names[plan.label] == f"{shown_axis} {''.join(map(str, order))}"
        assert len(set(cells)) == (4 if shown_axis == "space" else 1)
        assert (np.diff(plan.frame, axis=1) == 1).all()
        seen.add((shown_axis, cells[0]))
    assert seen == {(one, cell) for one in ("space", "time") if axis in (one, "both") for cell in range(4)}


def test_pieces_lie_within_their_cells() -> None:
    for plan in plans(Jigsaw(clip_length=2, augment=SMALL), noise(np.random.default_rng(0), 40), 200):
        cells = np.array(pieces(plan)[0])
        x, y, width, height = plan.box[:, 0].T
        assert (x >= cells % 2 * 16 - 1e-4).all()
        assert (x + width <= cells % 2 * 16 + 16 + 1e-4).all()
        assert (y >= cells // 2 * 12 - 1e-4).all()
        assert (y + height <= cells // 2 * 12 + 12 + 1e-4).all()


def quadrants(rng: np.random.Generator, frames: int) -> np.ndarray[Any, Any]:
    """Brighter from cell to cell, and the same in all frames."""
    level = np.array([[40, 90], [140, 190]]) + rng.integers(-10, 11, (2, 2))
    picture = level.repeat(12, axis=0).repeat(16, axis=1).astype(np.uint8)
    return np.broadcast_to(picture[None, :, :, None], (frames, 24, 32, 3)).copy()


def test_space_is_learnt_from_what_differs_between_cells_and_from_nothing_else() -> None:
    pretext = Jigsaw(axis="space", clip_length=2, dropout=0.0, augment=SMALL)
    assert accuracy(pretext, quadrants, steps=450) > 0.95
    assert accuracy(pretext, still) < chance_bound(pretext.chance)


def test_permuted_slots_are_another_order() -> None:
    plan = Jigsaw(axis="time", clip_length=2).plan
    for row, label in zip(plan.arrangements, plan.labels, strict=True):
        moved = row[[1, 0, 3, 2]]
        (found,) = (int(plan.labels[at]) for at, other in enumerate(plan.arrangements) if np.array_equal(other, moved))
        assert ORDERS[found] == tuple(ORDERS[label][k] for k in (1, 0, 3, 2))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"axis": "depth"}, "axis='depth': take space, time or both"),
        ({"clip_length": 0}, "clip_length=0"),
        ({"interval": 2, "interval_max": 1}, "interval_max=1: take at least interval=2, or None"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_wrong_settings_are_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        Jigsaw(**setting)


def test_a_crop_larger_than_a_cell_is_refused() -> None:
    with pytest.raises(
        VidsslError, match=r"grid=\(2, 2\): take .* cells of \(40, 48\) into which crops of \(30, 30\) fit"
    ):
        Jigsaw(augment=Augment(resize=(40, 48), crop=(30, 30))).plan  # noqa: B018
