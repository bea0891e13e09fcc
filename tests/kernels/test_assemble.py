"""assemble equals the reference and torch's antialiased resize-then-crop; its bodies and layouts give the same bits."""

import dataclasses
import hashlib
import itertools
import os
import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
import torch

from tests.kernels.workload import EVERY_CHANGE, SIZES, make_frames, orders
from vidssl import ops, reference
from vidssl.kernels.assemble import DType
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import Frames, Plan, VidsslError
from vidssl.video.color import color_space, rgb_space

GREY_LEVEL = 1 / 255


def make_plan(frames: Frames, augment: Augment, sample: int = 0) -> Plan:
    spec = PlanSpec(arrangements=orders(2, 2), labels=np.arange(2), bases=2, length=2, augment=augment)
    return ops.plan(spec, frames=len(frames.number), size=frames.size, seed=4, epoch=0, sample=sample)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("yuv", [True, False])
@pytest.mark.parametrize("chroma", [(0.0, 0.5), (0.5, 0.5), (1.0, 0.0)])
def test_equals_reference(size: tuple[int, int], yuv: bool, chroma: tuple[float, float]) -> None:
    frames = make_frames(np.random.default_rng(0), 6, size, yuv, chroma)
    for sample in range(4):
        plan = make_plan(frames, EVERY_CHANGE, sample)
        found = ops.assemble(frames, plan, size=(32, 37))
        expected = reference.assemble(frames.data, size, frames.space, plan, size=(32, 37))
        # float32 against float64; one grey level of the normalised picture is 1 / 255 / 0.2
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * GREY_LEVEL / 0.2)


def test_rgb_by_another_matrix_is_mapped_to_what_is_meant() -> None:
    """In linear parts of the picture's range it does not matter whether the map is applied before resizing or after."""
    frames = make_frames(np.random.default_rng(6), 4, (33, 47), yuv=False)
    mapped = dataclasses.replace(frames, space=rgb_space(color_space("bt709", "tv")))
    plan = make_plan(frames, EVERY_CHANGE)
    found = ops.assemble(mapped, plan, size=(32, 32))
    expected = reference.assemble(frames.data, frames.size, mapped.space, plan, size=(32, 32))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02 * GREY_LEVEL / 0.2)
    assert abs(found - ops.assemble(frames, plan, size=(32, 32))).max() > GREY_LEVEL


@pytest.mark.parametrize(
    ("resize", "crop"),
    [((128, 171), (112, 112)), ((300, 400), (224, 224)), ((40, 40), (40, 40)), ((240, 320), (112, 112))],
)
def test_equals_torch_resize_then_crop(resize: tuple[int, int], crop: tuple[int, int]) -> None:
    frames = make_frames(np.random.default_rng(1), 5, (240, 320), yuv=False)
    plan = make_plan(frames, Augment(resize=resize, crop=crop))
    picture = torch.from_numpy(frames.data).permute(0, 3, 1, 2).float()
    resized = (
        torch.nn.functional.interpolate(picture, resize, mode="bilinear", antialias=True, align_corners=False) / 255
    )
    found = ops.assemble(frames, plan, size=crop)
    for k, t in np.ndindex(2, 2):
        x, y = round(plan.box[k, t, 0] * resize[1] / 320), round(plan.box[k, t, 1] * resize[0] / 240)
        expected = resized[plan.frame[k, t], :, y : y + crop[0], x : x + crop[1]]
        assert (torch.from_numpy(found[k, :, t]) - expected).abs().max() < GREY_LEVEL


def test_types_and_layouts_hold_the_same_picture() -> None:
    frames = make_frames(np.random.default_rng(2), 6, (60, 84), yuv=True)
    frames = dataclasses.replace(frames, data=torch.from_numpy(frames.data))
    plan = make_plan(frames, Augment(resize=(40, 50), crop=(33, 37), std=(1 / 255,) * 3))
    full = ops.assemble(frames, plan, size=(33, 37))
    for dtype in ("float16", "bfloat16"):
        assert torch.equal(ops.assemble(frames, plan, size=(33, 37), dtype=dtype), full.to(getattr(torch, dtype)))
    assert torch.equal(
        ops.assemble(frames, plan, size=(33, 37), dtype="uint8"), full.round().clamp(0, 255).to(torch.uint8)
    )
    for dtype in get_args(DType):
        one = ops.assemble(frames, plan, size=(33, 37), dtype=dtype)
        last = ops.assemble(frames, plan, size=(33, 37), dtype=dtype, layout="kthwc")
        assert torch.equal(one, last.permute(0, 4, 1, 2, 3))
    assert torch.equal(ops.assemble(frames, plan, size=(33, 37), threads=2), full)


@pytest.mark.parametrize("resize", [(33, 47), (33, 48), (66, 94), (50, 99), (33, 30)])
@pytest.mark.parametrize("width", [15, 16, 27])  # of tiles of sixteen: none, one, and two that overlap
@pytest.mark.parametrize("chroma", [(0.0, 0.5), (0.5, 0.5)])
def test_rows_that_are_not_turned_hold_the_same_picture(
    resize: tuple[int, int], width: int, chroma: tuple[float, float]
) -> None:
    """Channels-last pictures are always made with their rows as lanes; others are not if columns are not reduced."""
    frames = make_frames(np.random.default_rng(8), 6, (33, 47), True, chroma)
    augments = (
        Augment(resize=resize, crop=(29, width), flip=0.5, flip_scope="clip"),
        dataclasses.replace(EVERY_CHANGE, resize=resize, crop=(29, width), jitter=0),
    )
    for augment, sample in itertools.product(augments, range(4)):
        plan = make_plan(frames, augment, sample)
        one = ops.assemble(frames, plan, size=(29, width))
        last = ops.assemble(frames, plan, size=(29, width), layout="kthwc")
        assert np.array_equal(one, last.transpose(0, 4, 1, 2, 3))
        expected = reference.assemble(frames.data, frames.size, frames.space, plan, size=(29, width))
        np.testing.assert_allclose(one, expected, rtol=0, atol=0.02 * GREY_LEVEL / 0.2)


def test_a_box_beyond_the_picture_shows_its_border() -> None:
    frames = make_frames(np.random.default_rng(3), 4, (16, 16), yuv=False)
    plan = make_plan(frames, Augment(resize=(16, 16), crop=(16, 16), std=(1 / 255,) * 3))
    plan.box[..., 0] += 100
    found = ops.assemble(frames, plan, size=(16, 16))
    assert np.array_equal(
        found[0, 0, 0], np.repeat(frames.data[plan.frame[0, 0], :, 15:16, 0], 16, axis=1).astype(np.float32)
    )


CHECKSUM = """
import hashlib, sys
from dataclasses import replace
from itertools import product
import numpy as np
import torch
from tests.kernels.test_assemble import make_plan
from tests.kernels.workload import EVERY_CHANGE, SIZES, make_frames
from vidssl import native, ops
from vidssl.kernels.augment import Augment
digest = hashlib.sha256()
types, layouts = ("float32", "float16", "bfloat16", "uint8"), ("kcthw", "kthwc")
augments = (EVERY_CHANGE, Augment(mean=(0.4, 0.5, 0.6), std=(1 / 255,) * 3))
for yuv, size, augment in product((True, False), SIZES, augments):
    frames = make_frames(np.random.default_rng(5), 6, size, yuv)
    frames = replace(frames, data=torch.from_numpy(frames.data))
    for dtype, layout in product(types, layouts):  # 50 columns: three runs of sixteen and a short one
        made = ops.assemble(frames, make_plan(frames, augment), size=(35, 50), dtype=dtype, layout=layout)
        digest.update(made.view(torch.uint8).numpy().tobytes())
print(native.build_info()["simd"], digest.hexdigest())
"""


@pytest.mark.parametrize("body", ["plain", "avx2", "avx512"])
def test_every_simd_body_gives_the_same_bits(body: str) -> None:
    def run(wish: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"VIDSSL_SIMD": wish, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run([sys.executable, "-c", CHECKSUM], env=environment, capture_output=True, text=True)

    found, plain = run(body), run("plain")
    if "this processor has no" in found.stderr:
        pytest.skip(f"this processor has no {body}")
    assert found.stdout.split() == [body, plain.stdout.split()[1]], found.stderr


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"size": (0, 5)}, "size=(0, 5)"),
        ({"dtype": "float64"}, "dtype='float64'"),
        ({"dtype": "bfloat16"}, "numpy has no such type"),
        ({"layout": "hwc"}, "layout='hwc'"),
    ],
)
def test_bad_arguments(change: dict[str, Any], part: str) -> None:
    frames = make_frames(np.random.default_rng(0), 4, (16, 16), yuv=False)
    with pytest.raises(VidsslError) as error:
        ops.assemble(frames, make_plan(frames, Augment()), **{"size": (8, 8), **change})
    assert part in str(error.value)


def test_a_frame_that_is_not_there() -> None:
    frames = make_frames(np.random.default_rng(0), 4, (16, 16), yuv=False)
    plan = make_plan(frames, Augment())
    plan.frame[0, 0] = 4
    with pytest.raises(ValueError, match=r"frame=4: take positions in 0\.\.3"):
        ops.assemble(frames, plan, size=(8, 8))


def test_hash_is_stable_between_calls() -> None:
    """Reused workspaces leave nothing behind: a large picture between two small ones changes nothing."""
    small, large = (
        make_frames(np.random.default_rng(6), 4, (33, 47), True),
        make_frames(np.random.default_rng(7), 4, (240, 320), True),
    )
    plan = make_plan(small, EVERY_CHANGE)
    before = hashlib.sha256(ops.assemble(small, plan, size=(33, 29)).tobytes()).hexdigest()
    ops.assemble(large, make_plan(large, EVERY_CHANGE), size=(90, 120))
    assert hashlib.sha256(ops.assemble(small, plan, size=(33, 29)).tobytes()).hexdigest() == before


@pytest.mark.parametrize("width", [48, 50])  # 48: rows of whole cache lines, which are written past the caches
def test_memory_that_was_used_before(width: int) -> None:
    frames = make_frames(np.random.default_rng(8), 6, (60, 84), yuv=True)
    plan = make_plan(frames, EVERY_CHANGE)
    new = ops.assemble(frames, plan, size=(35, width))
    kept = np.full_like(new, np.nan)
    assert ops.assemble(frames, plan, size=(35, width), out=kept) is kept
    assert np.array_equal(kept, new)
    with pytest.raises(
        VidsslError, match=r"out is float32 \[2, 3, 2, 35, \d+\]: it must be float32 \[2, 3, 2, 34, \d+\]"
    ):
        ops.assemble(frames, plan, size=(34, width), out=kept)
    half = torch.empty(new.shape, dtype=torch.bfloat16)
    with pytest.raises(VidsslError, match=r"out is torch\.bfloat16 .*: it must be float16 "):
        ops.assemble(frames, plan, size=(35, width), dtype="float16", out=half)


@pytest.mark.parametrize("threads", [1, 3])
def test_positions_beyond_two_gigabytes(threads: int) -> None:
    """Frames of many videos may lie in one array; its unused pages take no memory."""
    near = make_frames(np.random.default_rng(9), 6, (24, 36), yuv=True)
    each = near.data[0].nbytes
    places = np.array([2**31 // each + 100, 0, 2**31 // each, 2**32 // each + 7, 2**31 // each + 1, 3], np.int32)
    try:
        data = np.zeros((places.max() + 1, *near.data.shape[1:]), np.uint8)
    except MemoryError:
        pytest.skip("4 GB of addresses are not to be had")
    data[places] = near.data
    far = dataclasses.replace(near, data=data, number=np.arange(len(data)))
    plan = make_plan(near, EVERY_CHANGE)
    there = plan._replace(frame=places[plan.frame])
    found = ops.assemble(far, there, size=(20, 28), threads=threads)
    assert np.array_equal(found, ops.assemble(near, plan, size=(20, 28)))
