"""OPN against the published classes, pairs and input, and what its plans promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from tests.pretext.synthetic import chi_squared, noise, plans, same_everywhere
from vidssl import ops
from vidssl.models.norm import CaffeBatchNorm1d
from vidssl.pretext import Opn
from vidssl.pretext.heads import PairHead
from vidssl.types import Plan, VidsslError

PUBLISHED = "1234 1324 1342 1243 1423 1432 2134 2143 2314 3124 3142 3214"  # class by class, frames from 1


def noisy(height: int, width: int, *, still: bool = False) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """As many frames as a window has, none like another, or all alike."""
    frames = np.random.default_rng(0).integers(0, 256, (1 if still else 49, height, width, 3), dtype=np.uint8)
    return frames.repeat(49 if still else 1, axis=0)


def corners(made: list[Plan]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.stack([plan.box[:, 0, :2] for plan in made])  # [samples, 4, (x, y)]


def test_classes_are_the_published_ones_and_their_reverses() -> None:
    plan = Opn().plan
    assert (plan.arrangements.shape, plan.classes) == ((24, 4, 1), 12)
    for label, text in enumerate(PUBLISHED.split()):
        order = tuple(int(digit) - 1 for digit in text)
        shown = {tuple(map(int, row[:, 0])) for row in plan.arrangements[plan.labels == label]}
        assert shown == {order, order[::-1]}


def test_the_table_has_every_order_once() -> None:
    shown = [tuple(map(int, row[:, 0])) for row in Opn().plan.arrangements]
    assert sorted(shown) == sorted(permutations(range(4)))


@pytest.mark.parametrize(("count", "classes"), [(3, 3), (4, 12)])
def test_grouped_classes_are_orders_up_to_reversal(count: Any, classes: int) -> None:
    pretext = Opn(tuple_length=count)
    plan, names = pretext.plan, pretext.class_names
    assert (plan.arrangements.shape, plan.classes, plan.bases) == ((2 * classes, count, 1), classes, count)
    assert (plan.frames, len(plan.limits)) == ((count - 1) * 16 + 1, count - 1)
    orders = {tuple(map(int, row[:, 0])): int(label) for row, label in zip(plan.arrangements, plan.labels, strict=True)}
    assert sorted(orders) == sorted(permutations(range(count)))
    assert all(orders[order] == orders[order[::-1]] for order in orders)
    assert [orders[tuple(int(digit) - 1 for digit in name)] for name in names] == list(range(classes))


@pytest.mark.parametrize(("count", "classes"), [(3, 6), (4, 24)])
def test_ungrouped_classes_are_all_orders(count: Any, classes: int) -> None:
    pretext = Opn(tuple_length=count, grouped=False)
    plan, names = pretext.plan, pretext.class_names
    shown = ["".join(str(int(frame) + 1) for frame in row[:, 0]) for row in plan.arrangements]
    assert [names[label] for label in plan.labels] == shown
    assert len(set(shown)) == plan.classes == classes
    assert pretext.chance == 1 / classes


def test_the_head_of_three_frames_has_three_pairs_and_classes() -> None:
    head = Opn(tuple_length=3).head(1024)
    assert isinstance(head, PairHead)
    assert head.pairs == [(0, 1), (1, 2), (0, 2)]
    assert tuple(head.classify.weight.shape) == (3, 3 * 512)
    assert head(torch.randn(2, 3, 1024)).shape == (2, 3)


def test_uniform_sampling_does_not_follow_the_motion() -> None:
    """Of a window whose second half alone moves, even draws take the first half as often."""
    frames = noise(np.random.default_rng(2), 80)
    frames[:41] = frames[0]
    made = plans(Opn(interval_max=8, window=80, sampling="uniform"), frames, 300)
    inside = [plan.frame.max() < 40 for plan in made if plan.status == 0]
    assert 0.25 < np.mean(inside) < 0.55
    assert Opn(sampling="uniform").plan.reads_sad  # the patch still does


def test_head_compares_the_pairs_in_the_published_order() -> None:
    head = Opn().head(1024)
    assert isinstance(head, PairHead)
    assert head.pairs == [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]
    assert head.dropout.p == 0.5
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    assert (shapes["pair.weight"], shapes["classify.weight"]) == ((512, 2048), (12, 3072))


def test_pairs_share_the_statistics_but_not_the_scale() -> None:
    """One layer and one set of running statistics for six pairs; six scales and shifts; no others."""
    head = Opn().head(1024)
    assert {name: value.numel() for name, value in head.named_parameters()} == {
        "pair.weight": 512 * 2048,
        "pair.bias": 512,
        "scale": 6 * 512,
        "shift": 6 * 512,
        "classify.weight": 12 * 3072,
        "classify.bias": 12,
    }
    assert {name: value.numel() for name, value in head.named_buffers()} == {
        "norm.running_mean": 512,
        "norm.running_var": 512,
        "norm.num_batches_tracked": 1,
    }
    head.train()(torch.randn(5, 4, 1024))
    assert int(head.state_dict()["norm.num_batches_tracked"]) == 6


def test_head_begins_as_published() -> None:
    """Weights from a normal distribution with a standard deviation of 0.005, biases of 1 (train_opn.prototxt)."""
    torch.manual_seed(0)
    head = Opn().head(1024)
    assert isinstance(head, PairHead)
    for layer in (head.pair, head.classify):
        assert layer.weight.std().item() == pytest.approx(0.005, rel=0.02)
        assert layer.weight.mean().item() == pytest.approx(0, abs=1e-4)
        assert layer.weight.abs().max().item() > 3 * 0.005  # normal, not uniform
        assert (layer.bias == 1).all()
    assert isinstance(head.norm, CaffeBatchNorm1d)


def test_head_computes_what_the_paper_says() -> None:
    torch.manual_seed(0)
    head = Opn().head(5)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    for _ in range(3):
        head.train()(torch.randn(8, 4, 5))  # moves the running statistics away from 0 and 1
    features, state = torch.randn(3, 4, 5), head.eval().state_dict()
    parts = []
    for at, (i, j) in enumerate([(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]):
        pair = torch.cat((features[:, i], features[:, j]), 1) @ state["pair.weight"].T + state["pair.bias"]
        normal = (pair - state["norm.running_mean"]) / (state["norm.running_var"] + 1e-5).sqrt()
        parts.append(torch.relu(normal * state["scale"][at] + state["shift"][at]))
    wanted = torch.cat(parts, 1) @ state["classify.weight"].T + state["classify.bias"]
    torch.testing.assert_close(head(features), wanted, rtol=1e-4, atol=1e-3)


def test_input_is_the_published_one() -> None:
    augment = Opn().augment
    assert (augment.region, augment.crop, augment.jitter) == ((100, 100), (80, 80), 5)
    assert (augment.crop_scope, augment.flip, augment.flip_scope) == ("tuple", 0.5, "tuple")
    assert (augment.split, augment.color_scope) == (1.0, "frame")
    assert (augment.brightness, augment.contrast, augment.saturation, augment.grey) == (0, 0, 0, 0)
    assert augment.mean == (96.5 / 255,) * 3
    assert augment.std == (1 / 255,) * 3


def test_split_shows_one_channel_three_times() -> None:
    """The patch of one channel less 96.5, three times over; which one is drawn evenly, for each frame by itself."""
    frames, chosen = noisy(240, 320), []
    for plan in plans(Opn(), frames, 150):
        shown = ops.assemble(frames, plan, size=(80, 80))[:, :, 0]  # of the picture's own size: pixels are copied
        assert (shown == shown[:, :1]).all()
        channels = []
        for k in range(4):
            x, y, _, _ = plan.box[k, 0].astype(int)
            patch = frames[plan.frame[k, 0], y : y + 80, x : x + 80].astype(np.float32) - 96.5
            patch = patch[:, ::-1] if plan.flip[k] else patch
            (channel,) = [c for c in range(3) if np.allclose(patch[..., c], shown[k, 0], rtol=0, atol=1e-3)]
            channels.append(channel)
        chosen.append(channels)
    counts = np.array([np.bincount(column, minlength=3) for column in np.array(chosen).T])  # [slot, channel]
    assert chi_squared(counts.sum(0), [200] * 3) > 1e-4
    assert same_everywhere(counts) > 1e-4
    alike = np.mean([len(set(channels)) == 1 for channels in chosen])
    assert alike < 0.15  # 1 in 27 for four draws, 1 for one


@pytest.mark.parametrize(("low", "high"), [(4, 16), (1, 3), (5, 5)])
def test_planned_frames_obey_the_intervals(low: int, high: int) -> None:
    pretext = Opn(interval_min=low, interval_max=high, tries=10_000 if low == high else 64)
    assert pretext.plan.frames == 3 * high + 1
    made = [plan for plan in plans(pretext, noise(np.random.default_rng(1), 3 * high + 1), 300) if plan.status == 0]
    assert len(made) > 250
    steps = np.array([np.diff(np.sort(plan.frame[:, 0])) for plan in made])
    assert (steps.min(), steps.max()) == (low, high)


def test_frames_are_drawn_where_it_moves() -> None:
    frames = noise(np.random.default_rng(2), 80)
    frames[:41] = frames[0]  # frame 41 is the first that moves
    made = [plan for plan in plans(Opn(interval_max=8, window=80), frames, 300) if plan.status == 0]
    assert len(made) > 200
    assert np.mean([plan.frame.min() >= 40 for plan in made]) > 0.99


def test_classes_and_orders_are_drawn_evenly() -> None:
    made = plans(Opn(), noise(np.random.default_rng(3), 49), 4000)
    assert chi_squared(np.bincount([int(plan.label) for plan in made], minlength=12), [4000 / 12] * 12) > 1e-4
    orders = [tuple(np.argsort(np.argsort(plan.frame[:, 0])).tolist()) for plan in made]
    assert chi_squared([orders.count(order) for order in permutations(range(4))], [4000 / 24] * 24) > 1e-4


@pytest.mark.parametrize("corner", [(0, 0), (0, 300), (220, 0), (220, 300), (112, 208)])
def test_the_patch_lies_where_it_moves(corner: tuple[int, int]) -> None:
    """A blob of 20 x 20 flickers in one place of a still picture: every crop lies in one 100 x 100 part, which holds
    it.
    """
    y, x = corner
    frames = noisy(240, 320, still=True)
    frames[:, y : y + 20, x : x + 20] = np.random.default_rng(1).integers(0, 256, (49, 20, 20, 3), dtype=np.uint8)
    at = corners(plans(Opn(), frames, 300)).reshape(-1, 2)
    low, high = at.min(0), at.max(0)
    assert (high - low == 20).all()  # 80 in 100, all of it used
    covered = np.array([x, y]) >= low
    # whole 16 x 16 cells of motion: 4 pixels of the blob may be cut off
    covered &= np.array([x + 16, y + 16]) <= low + 100
    assert covered.all(), (low, corner)


def test_the_patch_is_the_middle_of_a_still_video() -> None:
    at = corners(plans(Opn(), noisy(240, 320, still=True), 300)).reshape(-1, 2)
    assert at.min(0).tolist() == [110, 70]
    assert at.max(0).tolist() == [130, 90]


def test_patches_follow_the_frames_that_are_shown() -> None:
    """The blob is on the left in the first half and on the right in the second: the patch is where the four frames'
    blob is.
    """
    frames = noisy(240, 320, still=True)[:40]
    blobs = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    frames[:19, 100:132, 16:48], frames[21:, 100:132, 272:304] = blobs[:19], blobs[21:]
    made = [plan for plan in plans(Opn(interval_min=2, interval_max=5, window=40), frames, 300) if plan.status == 0]
    left = [plan for plan in made if plan.frame.max() <= 18]
    right = [plan for plan in made if plan.frame.min() >= 22]
    assert min(len(left), len(right)) > 20
    assert corners(left)[..., 0].max() <= 48
    assert corners(right)[..., 0].min() >= 304 - 100


def test_four_frames_share_crop_and_mirror_up_to_jitter() -> None:
    full, plain = Opn(), Opn(augment=replace(Opn().augment, jitter=0))
    big = np.zeros((49, 240, 320, 3), dtype=np.uint8)
    made, base = plans(full, big, 2000), corners(plans(plain, big, 2000))
    assert (base == base[:, :1]).all()  # one place for the four
    moved = (corners(made) - base).astype(int)  # the other draws are the same: what is left is the jitter
    assert (moved.min(), moved.max()) == (-5, 5)
    assert np.mean((moved == moved[:, :1]).all(axis=(1, 2))) < 0.05  # each by itself
    flips = np.array([plan.flip for plan in made])
    assert (flips == flips[:, :1]).all()
    assert chi_squared(np.bincount(flips[:, 0], minlength=2), [1000, 1000]) > 1e-4


def test_jitter_that_would_leave_the_region_stays() -> None:
    """Where the crop has at least 5 pixels on both sides all 11 steps are drawn alike; at the border only those that
    fit, and 0.
    """
    big = np.zeros((49, 240, 320, 3), dtype=np.uint8)
    # 0 .. 20 in the region
    base = corners(plans(Opn(augment=replace(Opn().augment, jitter=0)), big, 4000))[:, :, 0] - 110
    moved = corners(plans(Opn(), big, 4000))[:, :, 0] - 110 - base
    inside = (base >= 5) & (base <= 15)
    assert chi_squared(np.bincount((moved[inside] + 5).astype(int), minlength=11), [inside.sum() / 11] * 11) > 1e-4
    edge = np.bincount(moved[base == 0].astype(int), minlength=6)
    assert moved[base == 0].min() == 0
    # five of eleven would leave on the left
    assert chi_squared(edge, edge.sum() * np.array([6, 1, 1, 1, 1, 1]) / 11) > 1e-4


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tuple_length": 2}, "tuple_length=2: take 3 or 4"),
        ({"tuple_length": 5}, "tuple_length=5"),
        ({"sampling": "even"}, "sampling='even': take motion or uniform"),
        ({"tuple_length": 3, "window": 8}, "window=8: take at least 9 frames"),
        ({"windows": "fast"}, "windows='fast'"),
        ({"interval_min": 0}, "interval_min=0"),
        ({"interval_min": 5, "interval_max": 4}, "interval_max=4"),
        ({"tries": 0}, "tries=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"window": 12}, "window=12: take at least 13 frames"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=f"opn: {named}"):
        Opn(**settings)
