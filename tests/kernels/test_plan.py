"""plan equals the reference: integers bit for bit, floats to rounding; and it draws what the spec says."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.kernels.workload import EVERY_CHANGE, SPECS, make_frames, orders
from vidssl import ops, reference
from vidssl.kernels.augment import Augment
from vidssl.kernels.motion import motion_many
from vidssl.kernels.plan import PlanSpec, plan_many
from vidssl.native import kernels
from vidssl.types import VidsslError


def test_philox_known_answers() -> None:
    """The published test vectors of Philox4x32-10 (Random123, kat_vectors)."""
    assert reference.philox(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 2**64 - 1
    assert reference.philox(ones, ones, ones) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    key, high, low = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88
    assert reference.philox(key, high, low) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("train", [True, False])
def test_equals_reference(name: str, train: bool) -> None:
    spec, rng = SPECS[name], np.random.default_rng(1)
    size, frames = (60, 84), spec.span + 20
    data = make_frames(rng, frames, size, yuv=True)
    sad, thumb = ops.motion(data)
    seen = set()
    for sample in range(40):
        where: dict[str, Any] = {
            "frames": frames,
            "size": size,
            "seed": 2**40 + 7,
            "epoch": sample // 7,
            "sample": sample + 2**33,
            "train": train,
        }
        found = ops.plan(spec, **where, sad=sad, thumb=thumb)
        expected = reference.plan(spec, **where, sad=sad, thumb=thumb)
        assert np.array_equal(found.frame, expected.frame)
        assert np.array_equal(found.box, expected.box)
        assert np.array_equal(found.flip, expected.flip)
        assert (found.label, found.status) == (expected.label, expected.status)
        np.testing.assert_allclose(found.color, expected.color, rtol=0, atol=3e-6)
        seen.add(found.frame.tobytes() + found.box.tobytes())
    assert len(seen) > 1 or len(spec.labels) == 1


def test_a_still_video_is_too_similar() -> None:
    spec = SPECS["frames by motion, far apart"]
    still = np.zeros((60, 48, 48, 3), dtype=np.uint8)
    sad, thumb = ops.motion(still)
    statuses = {
        int(ops.plan(spec, frames=60, size=(48, 48), seed=0, epoch=0, sample=s, sad=sad, thumb=thumb).status)
        for s in range(60)
    }
    assert statuses <= {1, 2}  # a still video: nothing differs enough
    assert 2 in statuses


def test_a_window_too_short_is_refused() -> None:
    with pytest.raises(VidsslError, match="frames=63: this spec needs a window of at least 64"):
        ops.plan(SPECS["clips in a row"], frames=63, size=(48, 48), seed=0, epoch=0, sample=0)


def test_draws_do_not_depend_on_each_other() -> None:
    """Turning an augmentation on moves no other draw."""
    plain = dataclasses.replace(SPECS["clips, free gaps"], augment=Augment(resize=(40, 50), crop=(32, 32)))
    full = SPECS["clips, free gaps"]
    where: dict[str, Any] = {"frames": 60, "size": (60, 84), "seed": 5, "epoch": 1, "sample": 9}
    one, other = ops.plan(plain, **where), ops.plan(full, **where)
    assert np.array_equal(one.frame, other.frame)
    assert one.label == other.label


def test_arrangements_are_drawn_evenly() -> None:
    spec = SPECS["clips in a row"]
    labels = [int(ops.plan(spec, frames=64, size=(8, 8), seed=3, epoch=0, sample=s).label) for s in range(6000)]
    counts = np.bincount(labels, minlength=6)
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-squared, 5 degrees of freedom, 0.1 %


def test_motion_weights_draw_by_motion() -> None:
    """All the motion lies in frames 30 .. 33: single frames are drawn there in proportion."""
    spec = PlanSpec(
        arrangements=np.zeros((1, 1, 1), dtype=int),
        labels=np.array([0]),
        bases=1,
        draw="free",
        weight="motion",
        window=60,
    )
    sad = np.zeros((59, 1, 1), dtype=np.uint32)
    sad[29:33] = [[[1000]], [[2000]], [[3000]], [[4000]]]  # of frames 30, 31, 32, 33
    frames = [
        int(
            ops.plan(
                spec,
                frames=60,
                size=(16, 16),
                seed=1,
                epoch=0,
                sample=s,
                sad=sad,
                thumb=np.zeros((60, 16, 16), np.uint8),
            ).frame[0, 0]
        )
        for s in range(4000)
    ]
    counts = np.bincount(frames, minlength=60)[30:34]
    expected = np.array([1001, 2001, 3001, 4001]) / 10060 * 4000
    assert counts.sum() > 3950
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom, 0.1 %


def test_evaluation_cuts_the_centre() -> None:
    spec = dataclasses.replace(SPECS["clips in a row"], augment=EVERY_CHANGE)
    found = ops.plan(spec, frames=64, size=(80, 100), seed=3, epoch=0, sample=1, train=False)
    # (50 - 32) / 2 and (40 - 32) / 2, times two
    assert (found.box == np.array([18, 8, 64, 64], dtype=np.float32)).all()
    assert not found.flip.any()
    assert (found.color == found.color[0, 0]).all()


@pytest.mark.parametrize("margin", range(6))
@pytest.mark.parametrize("draw", [ops.plan, reference.plan])
def test_the_centre_is_rounded_as_torchvision_rounds_it(draw: Any, margin: int) -> None:
    """CenterCrop takes int(round(margin / 2.0)), and Python rounds a half to the even number: 1 gives 0, 3 gives 2."""
    where: dict[str, Any] = {"frames": 64, "size": (40, 60), "seed": 0, "epoch": 0, "sample": 0}
    crop = Augment(resize=(40, 60), crop=(40 - margin, 60 - margin))
    whole = dataclasses.replace(SPECS["clips in a row"], augment=crop)
    assert (draw(whole, **where, train=False).box[..., :2] == int(round(margin / 2.0))).all()  # noqa: RUF046
    region = Augment(resize=(40, 60), region=(40 - margin, 60 - margin), crop=(40 - margin, 60 - margin))
    still = dataclasses.replace(SPECS["clips in a row"], augment=region)
    sad = np.zeros((63, 3, 4), np.uint32)
    assert (draw(still, **where, sad=sad).box[..., :2] == int(round(margin / 2.0))).all()  # noqa: RUF046


def test_the_published_centre_crop_begins_at_column_30() -> None:
    """171 - 112 = 59, of which VCOP's code leaves 30 columns on the left."""
    found = ops.plan(SPECS["clips in a row"], frames=64, size=(128, 171), seed=0, epoch=0, sample=0, train=False)
    assert (found.box == np.array([30, 8, 112, 112], dtype=np.float32)).all()


def region_of(moving: tuple[int, int] | None, train: bool = True) -> np.ndarray:
    """Boxes [samples, 4] in a 240 x 320 picture of which only the cell `moving` (row, column) changes; region 100 x
    100, crop 80 x 80.
    """
    augment = Augment(resize=(240, 320), region=(100, 100), crop=(80, 80), crop_scope="tuple", jitter=5)
    spec = PlanSpec(
        arrangements=np.arange(4).reshape(1, 4, 1), labels=np.zeros(1), bases=4, draw="free", window=30, augment=augment
    )
    sad = np.zeros((29, 15, 20), dtype=np.uint32)
    if moving is not None:
        sad[:, moving[0], moving[1]] = 7
    made = [
        ops.plan(spec, frames=30, size=(240, 320), seed=0, epoch=0, sample=s, train=train, sad=sad) for s in range(200)
    ]
    return np.concatenate([one.box.reshape(-1, 4) for one in made])


@pytest.mark.parametrize("moving", [(0, 0), (14, 19), (7, 12), (0, 19)])
def test_the_region_is_where_it_moves(moving: tuple[int, int]) -> None:
    boxes = region_of(moving)
    low, high = boxes[:, :2].min(0), boxes[:, :2].max(0)
    assert (high - low <= 20).all()  # 80 in 100
    assert (high - low > 15).all()  # and all of it is used
    y, x = moving[0] * 16 + 8, moving[1] * 16 + 8  # the moving cell's middle lies in the region
    assert low[0] <= x < low[0] + 100
    assert low[1] <= y < low[1] + 100


def test_the_region_is_the_centre_where_nothing_moves() -> None:
    boxes = region_of(None)
    assert (boxes[:, :2].min(0) >= (110, 70)).all()
    assert (boxes[:, :2].max(0) <= (130, 90)).all()
    assert (region_of(None, train=False) == np.array([120, 80, 80, 80])).all()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"bases": 0}, "bases=0"),
        ({"arrangements": np.full((6, 3, 16), 48)}, "pool numbers are 0..47"),
        ({"labels": np.arange(5)}, "labels.shape=(5,)"),
        ({"gap": (3, 2)}, "gap=(3, 2)"),
        ({"grid": (0, 1)}, "grid=(0, 1): take (rows, columns), at least 1"),
        ({"grid": 2}, "grid=2: take (rows, columns)"),
        ({"grid": (1, 2)}, "grid=(1, 2): take (rows, columns), at least 1, of cells of (128, 171)"),
        (
            {"grid": (1, 2), "arrangements": np.full((6, 3, 16), 96), "augment": Augment(crop=(112, 80))},
            "take cell * 48 + number, 0..95",
        ),
        ({"window": 63}, "window=63"),
        ({"limits": ((1, 1, 0, 5),)}, "limits=(1, 1, 0, 5)"),
        ({"draw": "loose"}, "draw='loose'"),
        ({"window": "film"}, "window='film'"),
        ({"windows": "fast"}, 'windows=\'fast\': take "even" or "motion"'),
        ({"windows": "motion", "window": "video"}, "windows='motion': the whole video is the only window"),
    ],
)
def test_a_spec_that_cannot_be_says_so(change: dict[str, Any], part: str) -> None:
    good: dict[str, Any] = {
        "arrangements": orders(3, 16),
        "labels": np.arange(6),
        "bases": 3,
        "length": 16,
        "gap": (8, 8),
    }
    with pytest.raises(VidsslError) as error:
        PlanSpec(**(good | change))
    assert part in str(error.value)


def test_motion_asked_for_but_not_given() -> None:
    with pytest.raises(ValueError, match="sad=None: this plan depends on motion"):
        ops.plan(SPECS["clips by motion"], frames=60, size=(16, 16), seed=0, epoch=0, sample=0)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (float("nan"),) * 3},
        {"mean": (0.5,)},
        {"std": (0.2, 0.0, 0.2)},
        {"resize": (64.7, 86)},
        {"crop": 50},
        {"jitter": 1.5},
        {"short_side": 111},
        {"short_side": 128.5},
        {"hue": 0.6},
        {"crop_area": (0.0, 1.0)},
        {"crop_area": (0.5, 0.4)},
        {"crop_area": 0.5},
        {"crop_aspect": (0.001, 1.0)},
        {"crop_aspect": None},
        {"blur": 1.5},
        {"blur_sigma": (0.0, 1.0)},
        {"blur_sigma": (1.0, 0.5)},
        {"blur_scope": "video"},
        {"solarise": -0.1},
        {"solarise_threshold": (0.5, 1.5)},
        {"cutout": 2},
        {"cutout_area": (0.0, 0.5)},
        {"cutout_aspect": None},
        {"tubes": 1.1},
        {"tube_cells": (0, 7)},
        {"tube_cells": (2**9, 2**9)},
        {"mask_scope": "pixel"},
    ],
    ids=str,
)
def test_an_augment_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    ((name, value),) = change.items()
    with pytest.raises(VidsslError) as error:
        Augment(**change)
    assert f"{name}={value!r}" in str(error.value)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.needs_motion])
@pytest.mark.parametrize("train", [True, False])
def test_many_plans_equal_single_ones(name: str, train: bool) -> None:
    """Of windows of different lengths and sizes."""
    spec = SPECS[name]
    windows = np.array([(spec.span + n % 5, 60 + n, 84 - n) for n in range(20)], np.int32)
    samples = np.arange(20, dtype=np.uint64) * 7 + 2**40
    found = plan_many(spec, windows=windows, seed=2**40 + 7, epoch=3, samples=samples, train=train)
    single = [
        ops.plan(spec, frames=frames, size=(height, width), seed=2**40 + 7, epoch=3, sample=int(sample), train=train)
        for (frames, height, width), sample in zip(windows.tolist(), samples, strict=True)
    ]
    for at, parts in enumerate(zip(*single, strict=True)):
        assert np.array_equal(found[at], np.concatenate([np.atleast_1d(part) for part in parts]))
    none = plan_many(spec, windows=windows[:0], seed=0, epoch=0, samples=samples[:0])
    assert [len(part) for part in none] == [0] * 6


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.needs_motion])
def test_many_plans_by_motion_equal_single_ones(name: str) -> None:
    """Of windows of different lengths of one array; a window may serve several tuples."""
    spec, rng = SPECS[name], np.random.default_rng(2)
    frames = make_frames(rng, 2 * spec.span + 30, (60, 84), yuv=True)
    spans = np.array([(first, spec.span + length) for first, length in ((9, 5), (0, 0), (20, 7), (9, 5))], np.int64)
    score, single = motion_many(frames, spans), [ops.motion(frames.data[a : a + n]) for a, n in spans.tolist()]
    for at in range(2):
        assert np.array_equal(score[at], np.concatenate([one[at] for one in single]))
    begins = np.cumsum(spans[:, 1]) - spans[:, 1]
    places = np.stack([begins - np.arange(4), begins], axis=1)
    tuples = np.array([2, 0, 0, 3, 1])
    samples = np.arange(5, dtype=np.uint64) + 2**33
    windows = np.array([(spans[at, 1], 60, 84) for at in tuples], np.int32)
    found = plan_many(
        spec, windows=windows, seed=7, epoch=3, samples=samples, score=score, places=places[tuples], train=True
    )
    wanted = [
        ops.plan(
            spec,
            frames=int(spans[at, 1]),
            size=(60, 84),
            seed=7,
            epoch=3,
            sample=int(sample),
            sad=single[at].sad,
            thumb=single[at].thumb,
        )
        for at, sample in zip(tuples, samples, strict=True)
    ]
    for at, parts in enumerate(zip(*wanted, strict=True)):
        assert np.array_equal(found[at], np.concatenate([np.atleast_1d(part) for part in parts]))
    shared = plan_many(spec, windows=windows[[0, 0]], seed=7, epoch=3, samples=samples[[0, 3]] + 9, score=single[2])
    alone = [
        ops.plan(
            spec, frames=int(spans[2, 1]), size=(60, 84), seed=7, epoch=3, sample=int(sample) + 9, **single[2]._asdict()
        )
        for sample in samples[[0, 3]]
    ]
    for at, parts in enumerate(zip(*alone, strict=True)):  # without places, all are of one window
        assert np.array_equal(shared[at], np.concatenate([np.atleast_1d(part) for part in parts]))
    arguments: dict[str, Any] = {"windows": windows, "seed": 7, "epoch": 3, "samples": samples, "score": score}
    for wrong, message in (
        ({"places": places[tuples] + 90}, "places: rows"),
        ({"places": places[tuples] - 90}, "places: rows"),
        ({"windows": windows * np.array([1, 2, 1], np.int32), "places": places[tuples]}, "is uint32|places: rows"),
        ({"windows": windows + np.array([[0, 0, n] for n in range(5)], np.int32)}, "take windows of one size"),
    ):
        with pytest.raises(VidsslError, match=message):
            plan_many(spec, **(arguments | wrong))
    for bad in ((-1, 4), (0, 0), (0, len(frames.number) + 1), (len(frames.number) - 3, 4), (2**62, 2**62)):
        with pytest.raises(VidsslError, match=r"windows=|frames"):
            kernels.motion_many(frames.data, 60, 84, np.array([bad], np.int64), *score)


def test_many_plans_are_refused() -> None:
    plain = next(spec for spec in SPECS.values() if not spec.needs_motion)
    moving = next(spec for spec in SPECS.values() if spec.needs_motion)
    window, one = np.array([(plain.span, 60, 84)], np.int32), np.zeros(1, np.uint64)
    short, flat = np.array([(plain.span - 1, 60, 84)], np.int32), np.array([(plain.span, 0, 84)], np.int32)
    for wrong, message in (
        ({"spec": moving, "windows": window * np.int32(9)}, "this plan depends on motion"),
        ({"windows": short}, f"this spec needs windows of at least {plain.span} frames"),
        ({"windows": flat}, "size="),
        ({"windows": window.astype(np.int64)}, "windows is int64"),
        ({"samples": one[:0]}, "samples is uint64"),
        ({"samples": one.astype(np.float64)}, "it must be uint64"),
    ):
        arguments: dict[str, Any] = {"spec": plain, "windows": window, "samples": one, "seed": 0, "epoch": 0} | wrong
        with pytest.raises(VidsslError, match=message):
            plan_many(arguments.pop("spec"), **arguments)
