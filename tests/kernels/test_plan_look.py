"""The boxes and colours of plans: a short side, random crops, hue. test_plan.py compares them with the reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, plan_many
from vidssl.types import Plan, VidsslError


def drawn_with(augment: Augment, size: tuple[int, int], samples: int = 300, train: bool = True) -> Plan:
    """Plans of one frame each, joined."""
    spec = PlanSpec(arrangements=np.zeros((1, 1, 1)), labels=np.zeros(1), bases=1, augment=augment)
    windows = np.full((samples, 3), (1, *size), np.int32)
    return plan_many(spec, windows=windows, seed=3, epoch=0, samples=np.arange(samples, dtype=np.uint64), train=train)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((240, 320), (48, 8, 224, 224)),  # resized to 120 x 160: the centre of 112 x 112 begins at (24, 4)
        ((320, 240), (8, 48, 224, 224)),
        ((120, 120), (4, 4, 112, 112)),
        ((60, 101), (45 * 101 / 202, 2, 112 * 101 / 202, 56)),
        ((100, 101), (4 * 101 / 121, 4 * 100 / 120, 112 * 101 / 121, 112 * 100 / 120)),  # 121.2 is rounded down
    ],
)
def test_a_short_side_keeps_the_aspect(size: tuple[int, int], box: tuple[float, ...]) -> None:
    found = drawn_with(Augment(short_side=120, crop=(112, 112)), size, samples=1, train=False).box[0, 0]
    np.testing.assert_allclose(found, box, rtol=1e-6)


def test_a_short_side_of_a_narrow_picture_is_refused() -> None:
    """Instead of a picture that would be 2 ** 31 pixels wide."""
    with pytest.raises(VidsslError, match="take a smaller resize"):
        drawn_with(Augment(short_side=128), (1, 2**24 - 1), samples=1)


def test_random_crops_are_those_of_torchvision() -> None:
    """Mean and spread of their areas and aspects are those of RandomResizedCrop.get_params, written out here."""
    area, aspect, (height, width), count = (0.2, 0.9), (0.5, 3.0), (240, 320), 4000
    augment = Augment(short_side=240, crop=(112, 112), crop_area=area, crop_aspect=aspect)
    x, y, w, h = np.moveaxis(drawn_with(augment, (height, width), count).box[:, 0].astype(np.float64), -1, 0)
    assert (np.stack([x, y, w, h]) % 1 == 0).all()  # whole pixels, because the picture keeps its size
    assert (x + w).max() <= width
    assert (y + h).max() <= height
    rng = np.random.default_rng(0)
    expected: list[tuple[int, int]] = []
    while len(expected) < count:
        cut = height * width * rng.uniform(*area)
        ratio = np.exp(rng.uniform(*np.log(aspect)))
        one = (round(np.sqrt(cut * ratio)), round(np.sqrt(cut / ratio)))
        if one[0] <= width and one[1] <= height:
            expected.append(one)
    wide, high = np.array(expected, np.float64).T
    for found, wanted in ((w * h, wide * high), (np.log(w / h), np.log(wide / high))):
        assert abs(found.mean() - wanted.mean()) < 4 * wanted.std() * np.sqrt(2 / count)
        assert 0.93 < found.std() / wanted.std() < 1.07
    for place, room in ((x, width - w), (y, height - h)):  # anywhere in the picture, evenly
        assert abs((place[room > 20] / room[room > 20]).mean() - 0.5) < 0.03


def test_a_random_crop_that_never_fits_is_the_largest_of_its_aspect() -> None:
    augment = Augment(short_side=120, crop=(112, 112), crop_area=(0.99, 1.0), crop_aspect=(4.0, 4.0))
    assert (drawn_with(augment, (120, 160)).box[:, 0, 2:] == (160, 40)).all()


def test_random_crops_and_hues_are_of_training_only() -> None:
    plain = Augment(resize=(120, 160), crop=(100, 100))
    random = dataclasses.replace(plain, crop_area=(0.1, 0.2), hue=0.3)
    for found, wanted in zip(*(drawn_with(one, (240, 320), 3, train=False) for one in (random, plain)), strict=True):
        assert np.array_equal(found, wanted)


def test_hue_turns_colours_around_the_greys() -> None:
    """Evenly up to its spread; a third of a turn exchanges the channels, which is what a shift of HSV's hue does."""
    maps = drawn_with(Augment(hue=0.5, std=(1 / 255,) * 3), (120, 160), 4000).color[:, 0].astype(np.float64)
    assert (maps[..., 3] == 0).all()
    linear = maps[..., :3]
    np.testing.assert_allclose(linear.sum(-1), 1, atol=1e-6)  # a grey stays as it is
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=2e-6)
    turn = np.arctan2(linear[:, 1, 0] - linear[:, 2, 0], (3 * linear[:, 0, 0] - 1) / np.sqrt(3)) / (2 * np.pi)
    assert np.bincount(np.floor((turn + 0.5) * 8).astype(int), minlength=8).min() > 400
    third = np.abs(turn - 1 / 3).argmin()
    np.testing.assert_allclose(linear[third], np.roll(np.eye(3), 1, axis=0), atol=0.01)  # red becomes green
