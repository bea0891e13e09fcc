"""No method may be solved without motion, and each must be solvable where order is plain to see.

A small net is trained on videos that cannot tell the order (one repeated frame; noise) and must not do better than
chance, with every augmentation on; and on videos that show nothing else (a grey ramp), where it must be right. That the
net would find a leak is shown by planting one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretext.synthetic import (
    accuracy,
    chance_bound,
    noise,
    plans,
    ramp,
    ranks,
    same_everywhere,
    shade_by_distance,
    shade_by_time,
    still,
    window,
    without_brightness,
)
from vidssl.kernels.augment import Augment
from vidssl.pretext import (
    METHODS,
    Arrow,
    Jigsaw,
    OddOneOut,
    Opn,
    OutOfOrder,
    Pace,
    Pretext,
    ShuffleLearn,
    SkipRate,
    Vcop,
)
from vidssl.types import Plan

EVERYTHING = Augment(
    resize=(20, 24),
    crop=(16, 16),
    crop_scope="clip",
    jitter=1,
    flip=0.5,
    flip_scope="clip",
    brightness=0.4,
    contrast=0.3,
    saturation=0.5,
    grey=0.2,
    split=0.2,
    color_scope="frame",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


class Comparing(ShuffleLearn):
    """Its own head only adds up what each frame says, and would miss a leak that lies between frames: a layer more
    compares them.
    """

    def head(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Linear(self.tuple_length * features, 128), nn.ReLU(), nn.Linear(128, 2))


# Small settings of every method. Right and wrong evenly for Shuffle and Learn: guessing must not pay. Sequences from
# anywhere for Odd-One-Out: constrained ones share frames, which noise cannot hide; one colour a sequence, or the
# differences are all colour.
SMALL: dict[str, Pretext] = {
    "shuffle_learn": Comparing(tau_max=12, tau_min=4, positives=1, negatives=1, similar=0, augment=EVERYTHING),
    "opn": Opn(interval_min=3, interval_max=8, dropout=0.0, augment=replace(EVERYTHING, region=(18, 20))),
    "odd_one_out": OddOneOut(
        elements=4, length=4, sampler="consecutive", augment=replace(EVERYTHING, color_scope="clip")
    ),
    "vcop": Vcop(clip_length=4, interval=2, dropout=0.0, augment=EVERYTHING),
    "pace": Pace(clip_length=4, paces=(1, 4), augment=EVERYTHING),
    "arrow": Arrow(clip_length=4, augment=EVERYTHING),
    "out_of_order": OutOfOrder(length=4, stride=2, augment=EVERYTHING),
    "jigsaw": Jigsaw(axis="time", clip_length=4, dropout=0.0, augment=replace(EVERYTHING, resize=(40, 48))),
    "skip_rate": SkipRate(length=4, rates=(1, 4), augment=EVERYTHING),
}


def changed(method: str, **settings: Any) -> Pretext:
    return replace(SMALL[method], **settings)


ABLATIONS = {
    "opn of 3 frames": changed("opn", tuple_length=3),
    "opn, 24 classes": changed("opn", grouped=False),
    "opn, even draws": changed("opn", sampling="uniform"),
    "shuffle_learn of 4 frames": changed("shuffle_learn", tuple_length=4),
    "shuffle_learn of 5 frames": changed("shuffle_learn", tuple_length=5),
    "out_of_order of a clip": changed("out_of_order", level="clip"),
    "odd_one_out, grey": changed("odd_one_out", encoding="stack_of_grey_differences"),
}


# ---- what a net can and cannot learn ----


@pytest.mark.parametrize("name", [*METHODS, *ABLATIONS])
@pytest.mark.parametrize("video", [still, noise])
def test_nothing_is_learnt_where_nothing_shows_the_order(name: str, video: Callable[..., np.ndarray]) -> None:
    pretext = (SMALL | ABLATIONS)[name]
    assert accuracy(pretext, video) < chance_bound(pretext.chance)


@pytest.mark.parametrize("name", [*METHODS, *ABLATIONS])
def test_a_planted_leak_is_found(name: str) -> None:
    """Later frames shown brighter, under all the augmentation: the same net on the same noise sees it."""
    pretext = (SMALL | ABLATIONS)[name]
    tamper = (
        shade_by_distance if name in ("pace", "skip_rate") else shade_by_time
    )  # the order of frames does not show their pace
    assert accuracy(pretext, noise, tamper=tamper) > chance_bound(pretext.chance)


@pytest.mark.parametrize("method", METHODS)
def test_a_ramp_is_solved(method: str) -> None:
    assert accuracy(without_brightness(SMALL[method]), ramp, steps=450) > 0.95


def test_shuffle_learns_own_head_solves_a_ramp_where_each_frame_tells_its_time() -> None:
    """It cannot compare (see its tests): the window is so narrow, and videos so alike, that the right middle frame is
    known by itself.
    """
    pretext = ShuffleLearn(tau_max=6, tau_min=8, positives=1, negatives=1, similar=0, tries=1000, augment=EVERYTHING)

    def alike(rng: np.random.Generator, frames: int) -> np.ndarray[Any, Any]:
        return ramp(rng, frames, slope=(9, 10), offset=(0, 8))

    assert accuracy(without_brightness(pretext), alike, steps=450) > 0.95


# ---- slots that change places ----


def table(pretext: Pretext) -> dict[bytes, int]:
    return {
        row.tobytes(): int(label) for row, label in zip(pretext.plan.arrangements, pretext.plan.labels, strict=True)
    }


@pytest.mark.parametrize("method", ["opn", "vcop"])
def test_permuted_slots_are_another_row_of_the_table(method: str) -> None:
    """Every order of the slots of every row is a row; what is planned has the label of its order."""
    pretext = SMALL[method]
    spec, labels = pretext.plan, table(pretext)
    for row in spec.arrangements:
        for order in ([1, 0, *range(2, spec.slots)], [*range(1, spec.slots), 0]):  # these two make all orders
            assert row[order].tobytes() in labels
    rng = np.random.default_rng(0)
    for plan in plans(pretext, noise(rng, window(pretext)), 200):
        order = rng.permutation(spec.slots).tolist()
        place = ranks(plan)  # bases are numbered in the order of time
        assert labels[_row(spec.length, spec.times, place)] == plan.label
        moved = plan._replace(frame=plan.frame[order])
        assert (
            labels[_row(spec.length, spec.times, ranks(moved))] == labels[_row(spec.length, spec.times, place[order])]
        )
    assert (
        len({labels[_row(spec.length, spec.times, row[:, 0] // spec.length)] for row in spec.arrangements})
        == spec.classes
    )


def _row(length: int, times: int, bases: np.ndarray[Any, Any]) -> bytes:
    """The row of a table that shows these bases, each from its first frame on."""
    return (bases[:, None] * length + np.arange(times)).astype(np.int32).tobytes()


def test_a_wrong_order_of_three_frames_moves_as_the_table_says() -> None:
    """Of the orders of a row's slots, only the row and its reverse are rows; both have the same label."""
    labels = table(SMALL["shuffle_learn"])
    for row in SMALL["shuffle_learn"].plan.arrangements:
        found = {order: labels.get(row[list(order)].tobytes()) for order in permutations(range(3))}
        kept = {order for order, label in found.items() if label is not None}
        assert kept == {(0, 1, 2), (2, 1, 0)}
        assert found[(0, 1, 2)] == found[(2, 1, 0)]


def test_the_odd_place_moves_along() -> None:
    """Groups of a question are alike: slots in another order are a row of the table once the groups are numbered by
    slot again.
    """
    pretext, rng = SMALL["odd_one_out"], np.random.default_rng(0)
    spec, labels = pretext.plan, table(pretext)
    for row, label in zip(spec.arrangements, spec.labels, strict=True):
        order = rng.permutation(spec.slots).tolist()
        again = row[order] % spec.times + np.arange(spec.slots)[:, None] * spec.times
        assert labels[again.astype(np.int32).tobytes()] == np.flatnonzero(order == label)


# ---- augmentation ----


def measured(plan: Plan, time: int) -> np.ndarray[Any, Any]:
    """How each slot is cut, mirrored and coloured at a time, [K, 6]: x, y, mirror, gain, shift, kind of colour."""
    box, color = plan.box[:, time], plan.color[:, time]
    sources = (color[:, :, :3] != 0).any(axis=1)  # [K, 3]: channels that are read
    alike = (color == color[:, :1]).all(axis=(1, 2))
    # colours, grey, one of three channels
    kind = np.where(sources.sum(1) == 1, 2 + sources.argmax(1), alike.astype(int))
    return np.stack([box[:, 0], box[:, 1], plan.flip, color[:, :, :3].sum((1, 2)), color[:, 0, 3], kind], axis=1)


def unfair(pretext: Pretext, count: int, tamper: Callable[[Plan], Plan] | None = None) -> list[str]:
    """Which part of the augmentation depends on which property of a slot. One time of each slot: times of a slot may
    share draws.
    """
    values, rows = [], []
    made = plans(pretext, noise(np.random.default_rng(0), window(pretext)), count)
    for number, plan in enumerate(made):
        time, slots = number % pretext.plan.times, np.arange(pretext.plan.slots)
        values.append(measured(tamper(plan) if tamper else plan, time))
        order = np.argsort(np.argsort(plan.frame, axis=1), axis=1)[:, time]
        label = np.full_like(slots, plan.label)
        rows.append(
            np.stack([slots, label, label * len(slots) + slots, ranks(plan), np.full_like(slots, time), order], axis=1)
        )
    value, row = np.concatenate(values), np.concatenate(rows)
    found = []
    for v, part in enumerate(("x", "y", "mirror", "gain", "shift", "kind")):
        edges = np.unique(np.quantile(value[:, v], [0.25, 0.5, 0.75]))
        column = value[:, v].astype(int) if part in ("mirror", "kind") else np.searchsorted(edges, value[:, v])
        assert len(np.unique(column)) > 1, f"{part} is not drawn at all"
        for r, name in enumerate(("slot", "label", "label and slot", "rank", "time", "place in the sequence")):
            counts = np.zeros((row[:, r].max() + 1, column.max() + 1), dtype=np.int64)
            np.add.at(counts, (row[:, r], column), 1)
            if same_everywhere(counts[counts.sum(axis=1) > 0]) < 1e-4:
                found.append(f"{part} by {name}")
    return found


@pytest.mark.parametrize("name", [*METHODS, *ABLATIONS])
def test_augmentation_depends_on_neither_slot_nor_label(name: str) -> None:
    assert unfair((SMALL | ABLATIONS)[name], 4000) == []


@pytest.mark.parametrize(
    ("part", "tamper"),
    [
        ("x by label", lambda plan: plan._replace(box=plan.box + np.float32((plan.label == 0) * 0.9))),
        ("mirror by slot", lambda plan: plan._replace(flip=plan.flip | (np.arange(len(plan.flip)) == 1))),
        ("gain by rank", lambda plan: plan._replace(color=plan.color * (1 + 0.1 * ranks(plan)[:, None, None, None]))),
        (
            "mirror by label and slot",
            lambda plan: plan._replace(flip=plan.flip | (np.arange(len(plan.flip)) == plan.label)),
        ),
    ],
)
def test_augmentation_that_depends_on_them_is_found(part: str, tamper: Callable[[Plan], Plan]) -> None:
    assert part in unfair(SMALL["vcop"], 4000, tamper)


def test_a_net_at_chance_is_within_the_bound() -> None:
    """The bound is one that luck meets: of 2000 coin-flipping nets hardly any exceeds it, and a percent or two above
    chance would.
    """
    torch.manual_seed(0)
    for chance in (0.5, 1 / 12):
        lucky = torch.distributions.Binomial(1500, torch.tensor(chance)).sample((2000,)) / 1500
        assert float((lucky > chance_bound(chance)).float().mean()) < 0.002
        assert chance_bound(chance) < chance + 0.05
