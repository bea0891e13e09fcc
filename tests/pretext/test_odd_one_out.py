"""Odd-One-Out: published coefficients, questions, samplers, and what encoder and head see of a question."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.pretext.synthetic import chi_squared, noise, plans, window
from vidssl.pretext import OddOneOut
from vidssl.pretext.odd_one_out import dynamic_image_weights, rank_weights
from vidssl.types import Plan, VidsslError

# Approximate rank pooling, computed from its formula in the authors' code.
DYNAMIC_IMAGE = {
    6: [-5.15, -0.15, 1.35, 1.6833, 1.4333, 0.8333],
    15: [
        -23.0917,
        -9.0917,
        -3.0917,
        0.2417,
        2.2417,
        3.4417,
        4.1083,
        4.3941,
        4.3941,
        4.1718,
        3.7718,
        3.2264,
        2.5597,
        1.7905,
        0.9333,
    ],
    16: [
        -25.4724,
        -10.4724,
        -3.9724,
        -0.3057,
        1.9443,
        3.3443,
        4.1776,
        4.6062,
        4.7312,
        4.6201,
        4.3201,
        3.8655,
        3.2822,
        2.5899,
        1.8042,
        0.9375,
    ],
}


# ---- weights ----


@pytest.mark.parametrize("frames", DYNAMIC_IMAGE)
def test_dynamic_image_has_the_published_coefficients(frames: int) -> None:
    weights = dynamic_image_weights(frames)
    torch.testing.assert_close(weights, torch.tensor(DYNAMIC_IMAGE[frames]), rtol=0, atol=6e-5)
    assert abs(float(weights.sum())) < 1e-5
    formula = [sum((2 * i - frames - 1) / i for i in range(t, frames + 1)) for t in range(1, frames + 1)]
    torch.testing.assert_close(weights, torch.tensor(formula), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [2, 5, 6])
def test_rank_weights_are_the_sum_of_all_differences(count: int) -> None:
    """Of every later less every earlier one."""
    values = torch.randn(count, 7, dtype=torch.float64)
    wanted = sum((values[j] - values[i] for j in range(count) for i in range(j)), torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(rank_weights(count).double() @ values, wanted)


# ---- questions ----


def test_every_odd_place_and_wrong_order_is_one_row() -> None:
    plan, right = OddOneOut().plan, tuple(range(6))
    assert (plan.slots, plan.times, plan.classes, len(plan.labels)) == (6, 6, 6, 6 * 719)
    seen = set()
    for row, label in zip(plan.arrangements, plan.labels, strict=True):
        order = [tuple(map(int, slot - 6 * k)) for k, slot in enumerate(row)]  # slot k shows nothing but group k
        assert all(order[k] == right for k in range(6) if k != label)
        seen.add((int(label), order[label]))
    assert seen == {(odd, wrong) for odd in range(6) for wrong in permutations(right) if wrong != right}


def test_reversal_is_a_wrong_order_and_the_identity_is_not() -> None:
    wrong = {tuple(map(int, row[0])) for row in OddOneOut().plan.arrangements[OddOneOut().plan.labels == 0]}
    assert tuple(range(5, -1, -1)) in wrong
    assert tuple(range(6)) not in wrong


def test_adjacent_swaps_two_neighbours() -> None:
    plan = OddOneOut(wrong="adjacent").plan
    assert len(plan.labels) == 6 * 5
    seen = set()
    for row, label in zip(plan.arrangements, plan.labels, strict=True):
        moved = np.flatnonzero(row.ravel() != np.arange(36))
        first = int(moved[0])
        assert moved.tolist() == [first, first + 1]
        assert row.ravel()[moved].tolist() == [first + 1, first]
        assert first // 6 == label
        seen.add(first)
    assert len(seen) == 30


def test_places_and_orders_are_drawn_evenly() -> None:
    pretext = OddOneOut(elements=4, length=3)
    made = plans(pretext, noise(np.random.default_rng(0), window(pretext)), 4000)
    assert chi_squared(np.bincount([int(plan.label) for plan in made], minlength=4), [1000] * 4) > 1e-4
    wrong = [tuple(np.argsort(np.argsort(plan.frame[int(plan.label)])).tolist()) for plan in made]
    assert chi_squared([wrong.count(order) for order in permutations(range(3)) if order != (0, 1, 2)], [800] * 5) > 1e-4


def test_default_question_is_drawn_evenly() -> None:
    made = plans(OddOneOut(), noise(np.random.default_rng(1), 9), 4000)
    assert chi_squared(np.bincount([int(plan.label) for plan in made], minlength=6), [4000 / 6] * 6) > 1e-4


# ---- samplers ----


def sorted_but_the_odd_one(plan: Plan) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Each slot's frames in the order of time; only the odd one's had to be sorted."""
    rising = (np.diff(plan.frame, axis=1) > 0).all(axis=1)
    assert np.flatnonzero(~rising).tolist() == [int(plan.label)]
    found: np.ndarray[Any, np.dtype[np.int32]] = np.sort(plan.frame, axis=1)
    return found


@pytest.mark.parametrize(
    ("sampler", "stride"), [("constrained", 1), ("constrained", 2), ("consecutive", 1), ("consecutive", 3)]
)
def test_neighbours_are_neighbours(sampler: Any, stride: int) -> None:
    pretext = OddOneOut(sampler=sampler, stride=stride)
    frames = noise(np.random.default_rng(2), 60 if sampler == "consecutive" else window(pretext))
    starts = []
    for plan in plans(pretext, frames, 400):
        order = sorted_but_the_odd_one(plan)
        assert (np.diff(order, axis=1) == stride).all()
        starts += order[:, 0].tolist()
    assert set(starts) == set(range(len(frames) - 5 * stride))  # each start that fits


def test_constrained_sequences_lie_in_one_and_a_half() -> None:
    assert OddOneOut().plan.frames == 9
    assert OddOneOut(stride=2).plan.frames == 16  # a sequence covers 11 frames
    assert OddOneOut(length=4).plan.frames == 6
    made = plans(OddOneOut(), noise(np.random.default_rng(3), 9), 4000)
    starts = np.concatenate([sorted_but_the_odd_one(plan)[:, 0] for plan in made])
    assert chi_squared(np.bincount(starts, minlength=4), [6000] * 4) > 1e-4


def test_random_frames_come_from_the_whole_video() -> None:
    pretext = OddOneOut(sampler="random")
    plan = pretext.plan
    assert (plan.groups, plan.bases, plan.length, plan.window) == (6, 6, 1, "video")
    made = plans(pretext, noise(np.random.default_rng(4), 60), 1000)
    shown = np.stack([sorted_but_the_odd_one(one) for one in made])  # [samples, 6, 6]
    assert (np.diff(shown, axis=2) > 0).all()  # no frame twice
    assert chi_squared(np.bincount(shown.ravel(), minlength=60), [600] * 60) > 1e-4
    assert (np.diff(shown, axis=2) > 20).any()


def test_only_the_constrained_sampler_has_a_window_of_its_own() -> None:
    windows = {sampler: OddOneOut(sampler=sampler).plan.window for sampler in ("consecutive", "random", "constrained")}
    assert windows == {"consecutive": "video", "random": "video", "constrained": 9}


def guess_by_overlap(frame: np.ndarray[Any, Any]) -> int:
    """The sequence that contradicts the others most: how often it shows two frames the other way round than another one
    does.
    """
    follows: dict[tuple[int, int], set[int]] = {}
    for k, row in enumerate(frame.tolist()):
        for i, one in enumerate(row):
            for other in row[i + 1 :]:
                follows.setdefault((one, other), set()).add(k)
    against = np.zeros(len(frame))
    for (one, other), slots in follows.items():
        for k in slots:
            against[k] += len(follows.get((other, one), ()))
    return int(against.argmax())


@pytest.mark.parametrize(
    ("sampler", "video", "least", "most"), [("constrained", 9, 0.99, 1.0), ("consecutive", 600, 0.0, 0.35)]
)
def test_constrained_sequences_share_frames(sampler: Any, video: int, least: float, most: float) -> None:
    """Six of nine frames, six times: who knows frames again needs no motion to find the odd one. So noise proves
    nothing about it.
    """
    made = plans(OddOneOut(sampler=sampler), noise(np.random.default_rng(5), video), 500)
    assert least <= np.mean([guess_by_overlap(plan.frame) == plan.label for plan in made]) <= most


# ---- what the encoder sees ----


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (15, 1, 227, 227)),
        ({"length": 4}, (9, 1, 227, 227)),
        ({"encoding": "stack_of_grey_differences"}, (5, 1, 227, 227)),
        ({"encoding": "dynamic_image"}, (3, 1, 227, 227)),
        ({"encoding": "rank_sum"}, (3, 1, 227, 227)),
        ({"encoding": "frame"}, (3, 1, 227, 227)),
    ],
)
def test_a_sequence_is_one_picture(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert OddOneOut(**settings).input == shape


def test_stack_of_differences_is_a_frame_less_the_next() -> None:
    clips = torch.randn(2, 3, 6, 4, 5)
    found = OddOneOut().encode(clips)
    assert found.shape == (2, 15, 1, 4, 5)
    for t in range(5):
        torch.testing.assert_close(found[:, 3 * t : 3 * t + 3, 0], clips[:, :, t] - clips[:, :, t + 1])


def test_stack_of_grey_differences_is_the_luma_of_the_stack() -> None:
    clips = torch.randn(2, 3, 6, 4, 5)
    found = OddOneOut(encoding="stack_of_grey_differences").encode(clips)
    assert found.shape == (2, 5, 1, 4, 5)
    grey = 0.299 * clips[:, 0] + 0.587 * clips[:, 1] + 0.114 * clips[:, 2]
    for t in range(5):
        torch.testing.assert_close(found[:, t, 0], grey[:, t] - grey[:, t + 1])


def test_a_frame_shows_no_order() -> None:
    clips = torch.randn(2, 3, 6, 4, 5)
    assert torch.equal(OddOneOut(encoding="frame").encode(clips), clips[:, :, :1])


def test_differences_telescope_but_the_encodings_see_the_order_within() -> None:
    """Plainly summed, differences leave the first and the last frame; a wrong order in between must not be lost so."""
    clips = torch.randn(1, 3, 6, 4, 5, dtype=torch.float64)
    wrong = clips[:, :, [0, 3, 2, 4, 1, 5]]
    for shown in (clips, wrong):
        summed = OddOneOut().encode(shown).reshape(1, 5, 3, 4, 5).sum(1)
        torch.testing.assert_close(summed, clips[:, :, 0] - clips[:, :, 5])
    for encoding in ("stack_of_differences", "stack_of_grey_differences", "dynamic_image", "rank_sum"):
        task = OddOneOut(encoding=encoding)
        assert float((task.encode(clips) - task.encode(wrong)).abs().mean()) > 0.1


@pytest.mark.parametrize("encoding", ["stack_of_differences", "stack_of_grey_differences", "dynamic_image", "rank_sum"])
def test_no_encoding_sees_what_all_frames_share(encoding: Any) -> None:
    task, clips = OddOneOut(encoding=encoding), torch.randn(2, 3, 6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(
        task.encode(clips + torch.randn(2, 3, 1, 4, 5)), task.encode(clips), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("encoding", "weights"), [("rank_sum", [-5, -3, -1, 1, 3, 5]), ("dynamic_image", DYNAMIC_IMAGE[6])]
)
def test_sums_are_weighted_by_the_published_coefficients(encoding: Any, weights: list[float]) -> None:
    clips = torch.randn(2, 3, 6, 4, 5)
    found = OddOneOut(encoding=encoding).encode(clips)
    assert found.shape == (2, 3, 1, 4, 5)
    wanted = sum((weight * clips[:, :, t] for t, weight in enumerate(weights)), torch.zeros(2, 3, 4, 5))
    torch.testing.assert_close(found[:, :, 0], wanted, rtol=1e-3, atol=1e-3)


# ---- head ----


def test_sum_of_difference_weighs_six_elements() -> None:
    """The double sum of v_i - v_j over i < j is 5, 3, 1, -1, -3, -5; the head sees nothing else."""
    torch.manual_seed(0)
    head, features = OddOneOut().head(32), torch.randn(4, 6, 32)
    fused = sum((features[:, i] - features[:, j] for j in range(6) for i in range(j)), torch.zeros(4, 32))
    torch.testing.assert_close(torch.tensor([5.0, 3, 1, -1, -3, -5]) @ features, fused, rtol=1e-4, atol=1e-4)
    one, other, last = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
    torch.testing.assert_close(head(features), last(torch.relu(other(torch.relu(one(fused))))), rtol=1e-4, atol=1e-4)
    # what all share is gone
    torch.testing.assert_close(head(features + torch.randn(4, 1, 32)), head(features), rtol=1e-4, atol=1e-4)


def test_concat_sees_every_element() -> None:
    torch.manual_seed(0)
    head, features = OddOneOut(fusion="concat").head(32), torch.randn(4, 6, 32)
    one, other, last = (layer for layer in head.layers if isinstance(layer, torch.nn.Linear))
    wanted = last(torch.relu(other(torch.relu(one(torch.cat(features.unbind(1), dim=1))))))
    torch.testing.assert_close(head(features), wanted)


@pytest.mark.parametrize(("fusion", "inputs"), [("sum_of_difference", 128), ("concat", 6 * 128)])
def test_head_has_two_layers_of_128(fusion: Any, inputs: int) -> None:
    head = OddOneOut(fusion=fusion).head(128)
    shapes = [tuple(parameter.shape) for parameter in head.parameters()]
    assert shapes == [(128, inputs), (128,), (128, 128), (128,), (6, 128), (6,)]
    assert head(torch.randn(2, 6, 128)).shape == (2, 6)
    # the fusion is not learnt
    assert [name for name in head.state_dict() if "weight" in name and "layers" not in name] == []


# ---- settings ----


def test_defaults_are_six_sequences_of_six_frames_warped() -> None:
    pretext = OddOneOut()
    assert (pretext.elements, pretext.length, pretext.sampler, pretext.encoding) == (
        6,
        6,
        "constrained",
        "stack_of_differences",
    )
    augment = pretext.augment
    assert (augment.resize, augment.crop, augment.region) == ((227, 227), (227, 227), None)
    assert (augment.flip, augment.jitter, augment.brightness, augment.grey, augment.split) == (0, 0, 0, 0, 0)
    assert pretext.chance == 1 / 6


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"elements": 1}, "elements=1"),
        ({"elements": 11}, "elements=11"),
        ({"length": 1}, "length=1"),
        ({"length": 8}, "length=8"),
        ({"length": 65, "wrong": "adjacent"}, "length=65"),
        ({"stride": 0}, "stride=0"),
        ({"sampler": "random", "stride": 2}, "sampler='random'"),
        ({"sampler": "random", "elements": 10, "length": 7}, "sampler='random'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=f"odd_one_out: {named}"):
        OddOneOut(**settings)


@pytest.mark.parametrize("setting", ["sampler", "wrong", "encoding", "fusion"])
def test_unknown_names_are_named(setting: str) -> None:
    with pytest.raises(VidsslError, match=f"odd_one_out: {setting}='other'"):
        replace(OddOneOut(), **cast(Any, {setting: "other"}))
