"""Tables of common tasks: which frames they show, what is drawn for each view, and masks that a label numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.loader.test_loader import same
from vidssl import (
    Loader,
    PlanSpec,
    VideoIndex,
    VidsslError,
    labelled_clips,
    masked_clips,
    reference,
    tube_masks,
    two_views,
    views,
)
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import plan_many
from vidssl.types import Batch, Plan

LOOK = Augment(resize=(40, 60), crop=(16, 16), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4)
SHARED = replace(LOOK, crop_scope="tuple", flip_scope="tuple", color_scope="frame")  # not what views need
COUNT = 400


def draw(spec: PlanSpec, frames: int, count: int = COUNT, **how: Any) -> Plan:
    """The plans of `count` tuples, joined."""
    windows = np.tile(np.array([[frames, 40, 60]], np.int32), (count, 1))
    return plan_many(spec, windows=windows, seed=3, epoch=1, samples=np.arange(count, dtype=np.uint64), **how)


def slots(values: npt.NDArray[Any], spec: PlanSpec) -> npt.NDArray[Any]:
    """From [N * K, ...] to [N, K, ...]."""
    return values.reshape(-1, spec.slots, *values.shape[1:])


def test_labelled_clips_show_a_run_of_frames() -> None:
    spec = labelled_clips(5, stride=3, augment=LOOK)
    assert (spec.slots, spec.times, spec.frames, spec.classes) == (1, 5, 13, 1)
    assert draw(spec, 13, 2).frame.tolist() == [[0, 3, 6, 9, 12]] * 2


@pytest.mark.parametrize("make", [lambda: two_views(4, 2, augment=SHARED), lambda: views(3, 4, 2, augment=SHARED)])
def test_views_share_frames_and_nothing_else(make: Callable[[], PlanSpec]) -> None:
    spec = make()
    plan = draw(spec, spec.frames)
    frame, box, flip, color = (slots(values, spec) for values in plan[:4])
    assert spec.frames == 7
    assert (frame == [0, 2, 4, 6]).all()
    assert (box == box[:, :, :1]).all()
    assert (color == color[:, :, :1]).all()  # as one clip
    for at in range(1, spec.slots):
        assert (box[:, 0, 0, :2] != box[:, at, 0, :2]).any(1).mean() > 0.95
        assert 0.4 < (flip[:, 0] != flip[:, at]).mean() < 0.6
        assert (color[:, 0, 0] != color[:, at, 0]).any((1, 2)).all()
    assert set(plan.label.tolist()) == {0}


def test_views_of_different_moments() -> None:
    spec = views(3, 4, 2, window=20, augment=LOOK)
    frame = slots(draw(spec, 20).frame, spec)
    assert (spec.frames, frame.min(), frame.max()) == (20, 0, 19)
    assert (np.diff(frame, axis=2) == 2).all()
    assert (np.diff(frame[:, :, 0], axis=1) > 0).all()
    starts = np.bincount(frame[:, :, 0].ravel(), minlength=14)
    assert (starts > 0.6 * starts.mean()).all()  # each of 14 starts is as likely
    assert two_views(4, window="video").window == "video"


def test_views_of_a_grid_lie_in_their_cells() -> None:
    spec = views(6, 4, grid=(2, 3), augment=LOOK)
    assert spec.frames == 4
    box = slots(draw(spec, 4).box, spec)[:, :, 0]  # x, y, width, height; the picture is 40 x 60
    for at in range(6):
        x, y, width, height = box[:, at].T
        row, column = divmod(at, 3)
        assert (width == 16).all()
        assert (height == 16).all()
        assert (x.min(), x.max(), y.min(), y.max()) == (20 * column, 20 * column + 4, 20 * row, 20 * row + 4)
    fixed = slots(draw(spec, 4, 2, train=False).box, spec)[:, :, 0]
    assert len(np.unique(fixed[0], axis=0)) == 6
    several = views(4, 3, window=9, grid=(2, 2), augment=LOOK)
    assert (np.diff(slots(draw(several, 9).frame, several)[:, :, 0], axis=1) > 0).all()


def test_the_plan_draws_the_mask() -> None:
    spec = masked_clips(4, 2, masks=50, augment=LOOK)
    plan, again = draw(spec, 7, 5000), draw(spec, 7, 5000)
    assert (plan.frame == [0, 2, 4, 6]).all()
    assert plan.label.tolist() == again.label.tolist()
    found = np.bincount(plan.label, minlength=50)
    assert len(found) == 50
    assert 60 < found.min() <= found.max() < 140  # 100 each; four standard deviations
    other = draw(replace(spec, augment=Augment(resize=(40, 60), crop=(20, 20))), 7, 5000)
    assert plan.label.tolist() == other.label.tolist()


def test_masks_are_the_same_with_every_engine_and_after_a_resume(index: VideoIndex) -> None:
    spec, found = masked_clips(4, 2, masks=300, augment=LOOK), []
    masks = torch.from_numpy(tube_masks(300, (4, 4), hidden=0.75))
    for engine, workers in (("inline", 3), ("eager", 1), ("dali", 2)):
        how: dict[str, Any] = {"engine": engine, "workers": workers}
        with Loader(index, spec, batch_size=3, device="cpu", seed=7, **how) as loader:
            found.append([Batch(*(part.clone() for part in batch)) for _ in range(2) for batch in loader])
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    with Loader(index, spec, batch_size=3, device="cpu", seed=7, workers=1) as loader:
        next(iter(loader))
        state = loader.state_dict()
    with Loader(index, spec, batch_size=3, device="cpu", seed=7, workers=1) as loader:
        loader.load_state_dict(state)
        rest = [masks[batch.label] for batch in loader]
    assert rest
    assert all(torch.equal(one, masks[batch.label]) for one, batch in zip(rest, found[0][1:], strict=False))
    labels = torch.cat([batch.label for batch in found[0]])
    assert len(labels.unique()) > len(labels) // 2  # they change from sample to sample and from epoch to epoch


def test_tubes_are_drawn_by_philox() -> None:
    """Mask m hides the cells with the smallest keys; the key of cell c is draw 1 of "order" of sample m * cells + c."""
    masks = tube_masks(5, (3, 4), hidden=0.6, seed=11)
    for number, mask in enumerate(masks):
        words = [reference.philox(11, number * 12 + cell, 1 << 40) for cell in range(12)]
        keys = [low | high << 32 for low, high, _, _ in words]
        assert np.flatnonzero(mask).tolist() == sorted(np.argsort(np.array(keys, np.uint64))[:7].tolist())


@pytest.mark.parametrize("size", [(14, 14), (4, 7, 7)])
def test_every_mask_hides_as_many_cells_and_every_cell_as_often(size: tuple[int, ...]) -> None:
    masks = tube_masks(1000, size, hidden=0.9)
    assert (masks.shape, masks.dtype) == ((1000, *size), bool)
    flat = masks.reshape(1000, -1)
    assert (flat.sum(1) == round(0.9 * flat.shape[1])).all()
    assert len(np.unique(flat, axis=0)) == 1000
    assert abs(flat.mean(0) - 0.9).max() < 0.05  # five standard deviations
    assert np.array_equal(tube_masks(10, size), masks[:10])
    assert not np.array_equal(tube_masks(10, size, seed=1), masks[:10])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: labelled_clips(0), "labelled_clips: length=0: take a whole number"),
        (lambda: labelled_clips(4, 0.5), "labelled_clips: stride=0.5: take a whole number"),
        (lambda: views(0, 4), "views: count=0: take a whole number of views in 1..64"),
        (lambda: views(65, 4, window=99), "views: count=65: take a whole number of views in 1..64"),
        (lambda: views(4, 4, grid=(2, 3)), r"views: grid=\(2, 3\): take .* one cell for each of the 4 views"),
        (lambda: views(4, 4, grid=(2, 2)), r"grid=\(2, 2\): take .* into which crops of \(112, 112\) fit"),
        (lambda: two_views(4, 2, window=7), "window=7: the bases need 8 frames"),
        (lambda: masked_clips(4, masks=0), "masked_clips: masks=0: take a whole number in 1.."),
        (lambda: masked_clips(4, masks=2**23), "masked_clips: masks=8388608: take a whole number in 1..4194304"),
        (lambda: tube_masks(4, (14,)), r"tube_masks: size=\(14,\): take \(rows, columns\)"),
        (lambda: tube_masks(4, (2**12, 2**12)), r"tube_masks: size=\(4096, 4096\): .* at most 1048576 cells"),
        (lambda: tube_masks(0, (4, 4)), "tube_masks: masks=0: take a whole number"),
        (lambda: tube_masks(4, (4, 4), hidden=1), "tube_masks: hidden=1: this hides 16 of 16 cells"),
        (lambda: tube_masks(4, (4, 4), hidden=0.01), "tube_masks: hidden=0.01: this hides 0 of 16 cells"),
        (lambda: tube_masks(4, (4, 4), hidden=90), "tube_masks: hidden=90: take a fraction"),
        (lambda: tube_masks(4, (4, 4), seed=-1), "tube_masks: seed=-1: take a whole number"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], said: str) -> None:
    with pytest.raises(VidsslError, match=said):
        call()
