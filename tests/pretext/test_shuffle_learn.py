"""Shuffle and Learn against the published tuples and input, and what its plans promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.pretext.synthetic import chi_squared, noise, plans, still
from vidssl import ops
from vidssl.pretext import ShuffleLearn
from vidssl.types import VidsslError

# Frames a < b < c < d < e are 0 .. 4: (b, c, d) is right; b and d stay where c gives way to a or to e; each also
# backwards.
PUBLISHED = {(1, 2, 3): 1, (3, 2, 1): 1, (1, 0, 3): 0, (3, 0, 1): 0, (1, 4, 3): 0, (3, 4, 1): 0}


def rows(pretext: ShuffleLearn) -> list[tuple[tuple[int, ...], int]]:
    plan = pretext.plan
    return [(tuple(map(int, row[:, 0])), int(label)) for row, label in zip(plan.arrangements, plan.labels, strict=True)]


def test_the_table_has_the_six_tuples() -> None:
    assert ShuffleLearn().plan.arrangements.shape[1:] == (3, 1)
    assert set(rows(ShuffleLearn())) == set(PUBLISHED.items())


@pytest.mark.parametrize("count", [3, 4, 5])
def test_longer_tuples_replace_one_frame_between_the_ends(count: int) -> None:
    """Positives are 1 .. count or its reverse. In each negative one frame between the ends gives way to 0 or count + 1,
    each equally often.
    """
    pretext = ShuffleLearn(tuple_length=count)
    plan, right = pretext.plan, tuple(range(1, count + 1))
    assert (plan.bases, plan.slots, pretext.chance) == (count + 2, count, 0.75)
    assert plan.labels.mean() == 0.25
    found = rows(pretext)
    assert {row for row, label in found if label} == {right, right[::-1]}
    changes = []
    for row in (row if row[0] == 1 else row[::-1] for row, label in found if not label):
        (at,) = [k for k in range(count) if row[k] != right[k]]
        changes.append((at, row[at]))
    assert set(changes) == {(at, other) for at in range(1, count - 1) for other in (0, count + 1)}
    assert len({changes.count(change) for change in changes}) == 1
    assert pretext.head(8)(torch.zeros(2, count, 8)).shape == (2, 2)
    assert set(plan.distinct) == {pair for c in range(2, count) for pair in ((0, c), (c, count + 1))}


@pytest.mark.parametrize("count", [4, 5])
def test_planned_frames_of_longer_tuples_obey_both_taus(count: int) -> None:
    pretext = ShuffleLearn(tuple_length=count, tau_max=12, tau_min=4, tries=1000)
    made = [plan for plan in plans(pretext, noise(np.random.default_rng(1), 21), 300) if plan.status == 0]
    assert len(made) > 250
    for plan in made:
        shown = plan.frame[:, 0].tolist()
        low, high = sorted((shown[0], shown[-1]))
        assert count - 1 <= high - low <= 12
        outside = [frame for frame in shown if not low <= frame <= high]
        assert len(outside) == (0 if plan.label else 1)
        assert all(frame <= low - 4 or frame >= high + 4 for frame in outside)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_reversed_has_the_same_label(count: int) -> None:
    table = dict(rows(ShuffleLearn(tuple_length=count)))
    assert all(table[row[::-1]] == label for row, label in table.items())


def test_the_ends_tell_nothing() -> None:
    """Both labels show b and d at the ends, in either order, equally often."""
    for label in (0, 1):
        ends = [(row[0], row[2]) for row, found in rows(ShuffleLearn()) if found == label]
        assert ends.count((1, 3)) == ends.count((3, 1)) == len(ends) / 2


@pytest.mark.parametrize(
    ("settings", "share"), [({}, 0.25), ({"negatives": 1}, 0.5), ({"positives": 3, "negatives": 17}, 0.15)]
)
def test_share_of_positives_is_exact_and_each_kind_is_even(settings: dict[str, Any], share: float) -> None:
    pretext = ShuffleLearn(**settings)
    counts = {row: sum(found == row for found, _ in rows(pretext)) for row in PUBLISHED}
    assert len({counts[row] for row, label in PUBLISHED.items() if label == 1}) == 1
    assert len({counts[row] for row, label in PUBLISHED.items() if label == 0}) == 1
    assert pretext.plan.labels.mean() == share
    assert pretext.chance == max(share, 1 - share)


def test_input_is_the_published_one() -> None:
    """Warped to 227 x 227, Caffe's mean taken off (here in the order of RGB), nothing random."""
    frames = np.random.default_rng(0).integers(0, 256, (95, 227, 227, 3), dtype=np.uint8)
    for plan in plans(ShuffleLearn(), frames, 3):
        assert not plan.flip.any()
        # of the picture's own size: pixels are copied
        shown = ops.assemble(frames, plan, size=ShuffleLearn().augment.crop)
        wanted = frames[plan.frame[:, 0]] - np.array([123.68, 116.779, 103.939])
        np.testing.assert_allclose(shown[:, :, 0], wanted.transpose(0, 3, 1, 2), rtol=0, atol=1e-3)
    wide = np.random.default_rng(0).integers(0, 256, (91, 24, 32, 3), dtype=np.uint8)
    boxes = np.concatenate([plan.box.reshape(-1, 4) for plan in plans(ShuffleLearn(), wide, 50)])
    np.testing.assert_allclose(boxes, np.tile([0, 0, 32, 24], (len(boxes), 1)), rtol=1e-6)  # all of the picture


@pytest.mark.parametrize(("tau_max", "tau_min"), [(60, 15), (12, 4), (6, 2)])
def test_planned_frames_obey_both_taus(tau_max: int, tau_min: int) -> None:
    pretext = ShuffleLearn(tau_max=tau_max, tau_min=tau_min, tries=1000)
    length = tau_max + 2 * tau_min + 1
    assert pretext.plan.frames == length
    frames, seen, count = noise(np.random.default_rng(1), length), set(), 0
    for plan in plans(pretext, frames, 400):
        if plan.status:
            continue
        first, middle, last = plan.frame[:, 0]
        low, high = min(first, last), max(first, last)
        assert 2 <= high - low <= tau_max
        if plan.label:
            assert low < middle < high
        else:
            assert middle <= low - tau_min or middle >= high + tau_min
        assert plan.frame.min() >= 0
        assert plan.frame.max() < length
        seen.add((int(plan.label), bool(first < last), bool(middle > high)))
        count += 1
    assert count > 350
    assert len(seen) == 6  # both labels both ways, a and e


def test_nearly_every_video_that_moves_gives_tuples() -> None:
    """A plan may give up (status 1); where the motion is even that is rare with the default number of tries."""
    statuses = [int(plan.status) for plan in plans(ShuffleLearn(), noise(np.random.default_rng(2), 91), 1000)]
    assert set(statuses) <= {0, 1}
    assert statuses.count(0) > 950


def test_labels_and_tuples_are_drawn_as_the_table_says() -> None:
    made = plans(ShuffleLearn(), noise(np.random.default_rng(3), 91), 4000)
    labels = np.bincount([int(plan.label) for plan in made], minlength=2)
    assert chi_squared(labels, [3000, 1000]) > 1e-4
    shapes = [tuple(np.argsort(np.argsort(plan.frame[:, 0])).tolist()) for plan in made]
    right, wrong = [(0, 1, 2), (2, 1, 0)], [(1, 0, 2), (2, 0, 1), (0, 2, 1), (1, 2, 0)]
    assert chi_squared([shapes.count(shape) for shape in right + wrong], [500] * 2 + [750] * 4) > 1e-4


def test_frames_are_drawn_where_it_moves() -> None:
    pretext = ShuffleLearn(tau_max=12, tau_min=4, window=80)
    frames = noise(np.random.default_rng(4), 80)
    frames[:41] = frames[0]  # frame 41 is the first that moves
    made = [plan for plan in plans(pretext, frames, 300) if plan.status == 0]
    assert len(made) > 200
    assert np.mean([plan.frame.min() >= 40 for plan in made]) > 0.99


@pytest.mark.parametrize(("similar", "met"), [(0.5, True), (0.51, False)])
def test_similar_is_a_mean_squared_difference(similar: float, met: bool) -> None:
    """Any two of these thumbnails differ by 8 at two of 256 pixels: a mean square of 0.5."""
    pretext = ShuffleLearn(tau_max=12, tau_min=4, similar=similar)
    frames = pretext.plan.frames
    thumb = (8 * np.eye(frames, 256)).astype(np.uint8).reshape(frames, 16, 16)
    sad = np.ones((frames - 1, 2, 2), np.uint32)
    made = [
        ops.plan(pretext.plan, frames=frames, size=(24, 32), seed=0, epoch=0, sample=s, sad=sad, thumb=thumb)
        for s in range(50)
    ]
    statuses = {int(plan.status) for plan in made}
    assert statuses == {0} if met else (2 in statuses and 0 not in statuses)


def test_only_the_middle_frame_is_compared() -> None:
    """c must differ from a and from e; that b and d look like it is no reason to reject."""
    assert ShuffleLearn().plan.distinct == ((0, 2), (2, 4))


def test_a_still_video_has_no_tuples_unless_similar_frames_are_allowed() -> None:
    frames = still(np.random.default_rng(5), 91)
    assert 0 not in {int(plan.status) for plan in plans(ShuffleLearn(), frames, 50)}
    assert 2 not in {int(plan.status) for plan in plans(ShuffleLearn(similar=0), frames, 50)}


def test_head_is_one_linear_layer_over_the_three_features() -> None:
    torch.manual_seed(0)
    head = ShuffleLearn().head(4096)
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        "1.weight": (2, 12_288),
        "1.bias": (2,),
    }
    weight, bias = head.state_dict().values()
    # Caffe's Xavier has a variance of 1 / inputs: a deviation of 0.00902, and this bound, reached by 24,576 numbers
    assert float(weight.std()) == pytest.approx(0.00902, rel=0.02)
    assert float(weight.abs().max()) == pytest.approx((3 / 12_288) ** 0.5, rel=0.01)
    assert not bias.any()
    features = torch.randn(2, 3, 4096)
    torch.testing.assert_close(head(features), torch.cat(features.unbind(1), dim=1) @ weight.T + bias)


def test_published_head_compares_no_slots() -> None:
    """It adds up what each slot says: how much the middle frame changes the logits does not depend on the ends."""
    torch.manual_seed(0)
    head = ShuffleLearn().head(16)
    ends, others, (c, a) = torch.randn(2, 16), torch.randn(2, 16), torch.randn(2, 16)

    def logits(two: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = head(torch.stack((two[0], middle, two[1]))[None])
        return out

    torch.testing.assert_close(
        logits(ends, c) - logits(ends, a), logits(others, c) - logits(others, a), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"windows": "fast"}, "windows='fast'"),
        ({"tau_min": 0}, "tau_min=0"),
        ({"tau_max": 1}, "tau_max=1"),
        ({"tuple_length": 2}, "tuple_length=2: take 3 to 5"),
        ({"tuple_length": 6}, "tuple_length=6"),
        ({"tuple_length": 5, "tau_max": 3}, "tau_max=3: take at least 4 frames; 3 lie between"),
        ({"tuple_length": 5, "window": 34}, "window=34: take at least 35 frames"),
        ({"positives": 0}, "positives=0"),
        ({"negatives": 0}, "negatives=0"),
        ({"tries": 0}, "tries=0"),
        ({"similar": -1.0}, "similar=-1.0"),
        ({"similar": 65_026.0}, "similar=65026.0"),
        ({"window": 32}, "window=32: take at least 33 frames"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(VidsslError, match=f"shuffle_learn: {named}"):
        ShuffleLearn(**settings)


def test_the_smallest_window_still_holds_five_frames() -> None:
    pretext = ShuffleLearn(tau_max=2, tau_min=3, window=9, similar=0, tries=400)
    made = plans(pretext, noise(np.random.default_rng(6), 9), 100)
    assert {tuple(sorted(plan.frame[:, 0].tolist())) for plan in made if plan.status == 0} == {
        (3, 4, 5),
        (0, 3, 5),
        (3, 5, 8),
    }
