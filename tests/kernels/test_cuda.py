"""The CUDA twins against the CPU twins: the same bits, on whatever shape. VIDSSL_REQUIRE_GPU=1 turns the skip into a
failure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from vidssl import ops
from vidssl.types import ColorSpace, Frames, Plan

pytestmark = pytest.mark.gpu
SPACE = ColorSpace(
    to_rgb=np.array([[1.164, 0, 1.596, -222.9], [1.164, -0.392, -0.813, 135.6], [1.164, 2.017, 0, -276.8]], np.float32),
    chroma=(0.0, 0.5),
)
AUGMENT = ops.Augment(
    crop_scope="frame", jitter=4, flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.3, split=0.3
)


def make_frames(rng: np.random.Generator, count: int, height: int, width: int, yuv: bool) -> Frames:
    rows, cols = (height + 1) // 2 * 2, (width + 1) // 2 * 2
    shape = (count, 3 * rows // 2, cols) if yuv else (count, height, width, 3)
    data = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    return Frames(data=data, number=np.arange(count), size=(height, width), space=SPACE)


def to_cuda(frames: Frames) -> Frames:
    return Frames(data=frames.data.cuda(), number=frames.number, size=frames.size, space=frames.space)


def same_bits(found: Iterable[Any], wanted: Iterable[Any]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.is_cuda
        assert one.shape == other.shape
        # As bytes: bit for bit, and uint32 has no comparison on every device.
        torch.testing.assert_close(
            one.cpu().reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8), rtol=0, atol=0
        )


def spec(weight: Any = "uniform", draw: Any = "chain", distinct: bool = False, seed: int = 0) -> ops.PlanSpec:
    rng = np.random.default_rng(seed)
    return ops.PlanSpec(
        arrangements=rng.integers(0, 3 * 4, (6, 3, 4), dtype=np.int32),
        labels=np.arange(6),
        bases=3,
        length=4,
        stride=2,
        gap=(1, 3),
        draw=draw,
        weight=weight,
        distinct=((0, 1),) if distinct else (),
        distinct_min=2_000_000 if distinct else 0,
        window=40,
        augment=AUGMENT,
    )


@pytest.mark.parametrize("yuv", [True, False])
@pytest.mark.parametrize(
    ("count", "height", "width"),
    [(1, 16, 16), (2, 1, 1), (5, 37, 53), (9, 240, 320), (40, 128, 340), (3, 479, 641), (0, 32, 32)],
)
def test_motion(yuv: bool, count: int, height: int, width: int) -> None:
    frames = make_frames(np.random.default_rng(count + height), count, height, width, yuv)
    same_bits(ops.motion(to_cuda(frames)), ops.motion(frames))


@pytest.mark.parametrize("count", [1, 19])
@pytest.mark.parametrize(("height", "width"), [(240, 320), (37, 53), (1, 1), (90, 400)])
@pytest.mark.parametrize("to", [(128, 171), (9, 7), (1, 1)])
def test_reduce(count: int, height: int, width: int, to: tuple[int, int]) -> None:
    frames = make_frames(np.random.default_rng(count), count, height, width, True)
    same_bits([ops.reduce(to_cuda(frames), to).data], [ops.reduce(frames, to).data])


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("draw", ["chain", "free"])
@pytest.mark.parametrize("weight", ["uniform", "motion"])
def test_plan(weight: Any, draw: Any, distinct: bool, train: bool) -> None:
    table = spec(weight, draw, distinct)
    frames = make_frames(np.random.default_rng(1), 40, 61, 83, yuv=True)
    scores = ops.motion(frames)
    for sample in range(20):
        how: dict[str, Any] = {
            "frames": 40,
            "size": frames.size,
            "seed": 5,
            "epoch": 2,
            "sample": sample,
            "train": train,
        }
        wanted = ops.plan(table, **how, sad=scores.sad, thumb=scores.thumb)
        same_bits(ops.plan(table, **how, sad=scores.sad.cuda(), thumb=scores.thumb.cuda()), wanted)


@pytest.mark.parametrize("frames", [40, 700])
def test_plan_finds_the_region_that_moves(frames: int) -> None:
    table = dataclasses.replace(
        spec("motion"),
        window=frames,
        augment=dataclasses.replace(AUGMENT, resize=(60, 80), region=(33, 40), crop=(32, 32)),
    )
    scores = ops.motion(make_frames(np.random.default_rng(2), frames, 129, 170, yuv=True))
    for sample in range(5):
        how: dict[str, Any] = {"frames": frames, "size": (129, 170), "seed": 5, "epoch": 2, "sample": sample}
        wanted = ops.plan(table, **how, sad=scores.sad, thumb=scores.thumb)
        same_bits(ops.plan(table, **how, sad=scores.sad.cuda(), thumb=scores.thumb.cuda()), wanted)


def random_plan(rng: np.random.Generator, slots: int, times: int, frames: Frames) -> Plan:
    """Boxes of any size, some beyond the picture."""
    (height, width), count = frames.size, len(frames.number)
    corner = rng.uniform((-0.2 * width, -0.2 * height), (0.5 * width, 0.5 * height), (slots, times, 2))
    extent = rng.uniform((0.1 * width, 0.1 * height), (width, height), (slots, times, 2))
    return Plan(
        frame=torch.from_numpy(rng.integers(0, count, (slots, times), dtype=np.int32)),
        box=torch.from_numpy(np.concatenate([corner, extent], -1).astype(np.float32)),
        flip=torch.from_numpy(rng.integers(0, 2, slots, dtype=np.uint8)),
        color=torch.from_numpy(rng.normal(0, 0.5, (slots, times, 3, 4)).astype(np.float32)),
        label=torch.zeros((), dtype=torch.int64),
        status=torch.zeros((), dtype=torch.int32),
    )


@pytest.mark.parametrize("layout", ["kcthw", "kthwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
@pytest.mark.parametrize("yuv", [True, False])
def test_assemble(yuv: bool, dtype: Any, layout: Any) -> None:
    # Picture, output: enlarged, reduced, odd, one pixel, and reduced so far that a tile's source is read in rounds.
    cases = [
        ((20, 30), (64, 70)),
        ((240, 320), (112, 112)),
        ((37, 53), (11, 45)),
        ((1, 1), (3, 3)),
        ((720, 1280), (9, 7)),
        ((64, 64), (1, 1)),
    ]
    for number, (picture, size) in enumerate(cases):
        rng = np.random.default_rng(number)
        frames = make_frames(rng, 3, *picture, yuv)
        plan = random_plan(rng, 2, 3, frames)
        wanted = ops.assemble(frames, plan, size=size, dtype=dtype, layout=layout)
        found = ops.assemble(
            to_cuda(frames), Plan(*(part.cuda() for part in plan)), size=size, dtype=dtype, layout=layout
        )
        same_bits([found], [wanted])


def test_assemble_on_another_stream() -> None:
    rng = np.random.default_rng(0)
    frames = make_frames(rng, 4, 90, 120, yuv=True)
    plan = random_plan(rng, 3, 2, frames)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        found = ops.assemble(to_cuda(frames), Plan(*(part.cuda() for part in plan)), size=(32, 32))
    stream.synchronize()
    same_bits([found], [ops.assemble(frames, plan, size=(32, 32))])


def asleep() -> torch.cuda.Event:
    """Puts the current stream to sleep for about half a second; the event says when it is awake."""
    torch.cuda._sleep(1_000_000_000)
    event = torch.cuda.Event()
    event.record()
    return event


@pytest.mark.parametrize("yuv", [True, False])
def test_no_stage_waits_for_the_device(yuv: bool) -> None:
    """The host is through all stages while the stream sleeps: it has waited for nothing, nor has torch on the way."""
    frames = to_cuda(make_frames(np.random.default_rng(0), 40, 90, 120, yuv))
    table = spec("motion")

    def stages() -> torch.Tensor:
        scores = ops.motion(frames)
        plan = ops.plan(
            table, frames=40, size=frames.size, seed=1, epoch=0, sample=3, sad=scores.sad, thumb=scores.thumb
        )
        return ops.assemble(frames, plan, size=(32, 32), dtype="bfloat16")

    wanted = stages()  # tables go up, kernels are loaded
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        awake = asleep()
        found = stages()
        assert not awake.query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    assert torch.equal(found, wanted)


def test_positions_beyond_two_gigabytes() -> None:
    """As of frames of many videos in one array."""
    near = make_frames(np.random.default_rng(3), 6, 24, 36, True)
    each = near.data[0].numel()
    places = torch.tensor([2**31 // each + 100, 0, 2**31 // each, 2**32 // each + 7, 2**31 // each + 1, 3])
    data = torch.zeros((int(places.max()) + 1, *near.data.shape[1:]), dtype=torch.uint8, device="cuda")
    data[places.cuda()] = near.data.cuda()
    plan = ops.plan(spec(), frames=6 * 9, size=near.size, seed=4, epoch=0, sample=1, like=near.data)
    plan = plan._replace(frame=plan.frame % 6)
    far = dataclasses.replace(near, data=data, number=np.arange(len(data)))
    there = Plan(*(part.cuda() for part in plan._replace(frame=places[plan.frame.long()].int())))
    same_bits([ops.assemble(far, there, size=(20, 28))], [ops.assemble(near, plan, size=(20, 28))])
