"""The cases compared do the same work: a quick one that did less would make a dishonest ratio."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from benchmarks import workloads
from benchmarks.bench_kernels import Swscale, assembler, numpy_plan, torch_motion
from vidssl import ops
from vidssl.types import Frames, Plan


@pytest.fixture(scope="module")
def workload() -> tuple[Frames, list[VideoFrame], Plan]:
    return (*workloads.frames(48), workloads.planned(workloads.pretext()))


@pytest.mark.parametrize("form", ["rgb24", "gbrp"])
def test_swscale_makes_the_same_clips(workload, form) -> None:  # type: ignore[no-untyped-def]
    frames, shown, plan = workload
    ours, theirs = assembler(frames, plan)(), Swscale(shown, plan, form)()
    assert theirs.shape == ours.shape == (3, 3, 16, 112, 112)
    assert theirs.is_contiguous()
    error = (ours - theirs).abs() * torch.tensor(workloads.STD).view(3, 1, 1, 1) * 255  # in grey levels
    assert error.mean() < 3  # swscale rounds to 8 bits, and its chroma is shared by two pixels
    shifted = (ours[..., 1:] - theirs[..., :-1]).abs() * torch.tensor(workloads.STD).view(3, 1, 1, 1) * 255
    assert error.mean() < shifted.mean()  # a crop that is off by a pixel would show


def test_torch_finds_the_same_motion() -> None:
    frames, _ = workloads.frames(4)
    luma = torch.from_numpy(frames.data)[:, : workloads.SIZE[0]]
    assert np.array_equal(ops.motion(frames).sad, torch_motion(luma).numpy())


def test_numpy_draws_the_same_kind_of_plan() -> None:
    spec = workloads.pretext().plan
    ours = ops.plan(spec, frames=spec.frames, size=workloads.SIZE, seed=0, epoch=0, sample=0)
    for seed in range(20):
        theirs = numpy_plan(np.random.default_rng(seed), spec.arrangements, spec.labels)
        for mine, other in zip(ours[:4], theirs[:4], strict=True):
            assert mine.shape == other.shape
            assert mine.dtype == other.dtype
        assert sorted(theirs[0].ravel()) == sorted(ours.frame.ravel())
        if theirs[4] == ours.label:
            assert np.array_equal(theirs[0], ours.frame)
        np.testing.assert_allclose(theirs[3], ours.color, rtol=1e-5)
        np.testing.assert_allclose(theirs[1][..., 2:], ours.box[..., 2:], rtol=1e-5)
