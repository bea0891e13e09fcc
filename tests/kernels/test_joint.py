"""A joint tuple is one tuple of each task, drawn as if the task were alone; tables that do not fit are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.pretext.tasks import Fast, Reversed
from vidssl.kernels.augment import Augment
from vidssl.kernels.joint import JointSpec, draw_plans, part_sample
from vidssl.kernels.plan import PlanSpec, plan
from vidssl.types import VidsslError

SMALL = Augment(resize=(36, 44), crop=(24, 32), flip=0.5, brightness=0.2)
FAST, BACK = Fast(augment=SMALL).plan, Reversed(augment=SMALL).plan
JOINT = JointSpec(tasks={"fast": FAST, "reversed": BACK})


def windows(count: int) -> np.ndarray:
    return np.tile(np.array([[JOINT.frames, 48, 64]], np.int32), (count, 1))


@pytest.mark.parametrize("train", [True, False])
def test_each_task_is_drawn_as_if_alone(train: bool) -> None:
    samples = np.array([3, 4, 11], np.uint64)
    found = draw_plans(JOINT, windows=windows(3), samples=samples, seed=7, epoch=2, train=train)
    assert found.frame.shape == (3 * JOINT.slots, 4) == (3 * 3, 4)
    assert found.label.shape == found.status.shape == (6,)
    slots = {"fast": slice(0, 1), "reversed": slice(1, 3)}
    for row, sample in enumerate(samples.tolist()):
        for at, (name, part) in enumerate(JOINT.tasks.items()):
            alone = plan(
                part,
                frames=JOINT.frames,
                size=(48, 64),
                seed=7,
                epoch=2,
                sample=part_sample(JOINT, sample, at),
                train=train,
            )
            for key in ("frame", "box", "flip", "color"):
                mine = getattr(found, key).reshape(3, JOINT.slots, *getattr(found, key).shape[1:])[row, slots[name]]
                assert np.array_equal(mine, getattr(alone, key)), key
            assert found.label.reshape(3, 2)[row, at] == alone.label


def test_labels_of_two_tasks_do_not_depend_on_each_other() -> None:
    count = 4000
    same = JointSpec(tasks={"one": FAST, "other": FAST})
    labels = draw_plans(same, windows=windows(count), samples=np.arange(count, dtype=np.uint64), seed=0, epoch=0).label
    table = np.bincount(labels.reshape(-1, 2) @ [2, 1], minlength=4) / count
    assert np.abs(table - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / count)


def test_a_single_task_keeps_its_draws() -> None:
    found = draw_plans(BACK, windows=windows(2), samples=np.array([5, 6], np.uint64), seed=1, epoch=0)
    alone = plan(BACK, frames=JOINT.frames, size=(48, 64), seed=1, epoch=0, sample=6)
    assert part_sample(BACK, 6, 0) == 6
    assert np.array_equal(found.frame[2:], alone.frame)
    assert found.label.shape == (2,)


def test_no_tuples_are_no_error() -> None:
    found = draw_plans(JOINT, windows=windows(0), samples=np.zeros(0, np.uint64), seed=0, epoch=0)
    assert found.frame.shape == (0, 4)
    assert found.label.shape == (0,)


def test_a_window_holds_the_longest_task() -> None:
    assert (BACK.span, FAST.span) == (11, 7)
    assert (JOINT.span, JOINT.frames, JOINT.window, JOINT.slots, JOINT.times) == (11, 11, None, 3, 4)
    whole = JointSpec(tasks={"fast": FAST, "reversed": replace(BACK, window="video")})
    assert (whole.window, whole.frames) == ("video", 11)
    wide = JointSpec(tasks={"fast": FAST, "reversed": replace(BACK, window=30)})
    assert (wide.window, wide.frames) == (30, 30)
    assert not JOINT.needs_motion
    assert JointSpec(tasks={"fast": FAST, "reversed": replace(BACK, weight="motion")}).needs_motion


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Fast(clip_length=5, augment=SMALL).plan, r"joint: other: frames of a slot=5: fast shows 4 frames in a slot"),
        (
            replace(FAST, augment=replace(SMALL, crop=(16, 16))),
            r"joint: other: augment.crop=\(16, 16\): fast has \(24, 32\)",
        ),
        (
            replace(FAST, augment=replace(SMALL, mean=(0.5, 0.5, 0.5))),
            r"joint: other: augment.mean=\(0.5, 0.5, 0.5\): fast has",
        ),
        (replace(FAST, windows="motion"), "joint: other: windows='motion': fast has 'even'; one window serves both"),
    ],
)
def test_tables_that_do_not_fit_are_refused(other: PlanSpec, message: str) -> None:
    with pytest.raises(VidsslError, match=message):
        JointSpec(tasks={"fast": FAST, "other": other})


def test_a_window_of_its_own_must_be_that_of_all() -> None:
    near = replace(FAST, window=9)
    with pytest.raises(VidsslError, match=r"joint: fast: window=9: .* the joint window has 11; make both the same"):
        JointSpec(tasks={"fast": near, "reversed": BACK})
    with pytest.raises(VidsslError, match=r"joint: fast: window=9: .* the joint window has the whole video"):
        JointSpec(tasks={"fast": near, "reversed": replace(BACK, window="video")})
    with pytest.raises(VidsslError, match=r"joint: tasks=\('fast',\): take two tasks or more"):
        JointSpec(tasks={"fast": FAST})
