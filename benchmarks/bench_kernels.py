"""The kernels' CPU twins on one thread, each against what does the same work without them.

    python -m benchmarks.bench_kernels --out benchmarks/results

assemble: 48 frames of 320 x 240 YUV 4:2:0 become the encoder's input [3, 3, 16, 112, 112]. Against swscale (bilinear,
to 171 x 128) and torch (crop, normalise, permute), once through packed rgb24, as is usual, and once through planar
gbrp, the fastest way that we know.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from benchmarks import workloads
from benchmarks.harness import compare, interleave, report, timed
from vidssl import ops
from vidssl.kernels.assemble import DType, Layout
from vidssl.native import build_info
from vidssl.types import Frames, Plan

Form = Literal["rgb24", "gbrp"]
SAMPLES = 64  # tuples of the plan workload, frames of the motion workload
PACKED_AND_PLANAR: tuple[Form, Form] = ("rgb24", "gbrp")
FORMS: tuple[tuple[DType, Layout, bool], ...] = (  # bool: into memory that is kept
    ("float32", "kcthw", True),
    ("float32", "kcthw", False),
    ("bfloat16", "kcthw", True),
    ("float16", "kcthw", True),
    ("uint8", "kcthw", True),
    ("float32", "kthwc", True),
    ("uint8", "kthwc", True),
)


class Swscale:
    """Frames and a plan to [K, 3, T, h, w] float32 by swscale and torch. One reformatter is kept: its tables cost more
    than a frame.
    """

    def __init__(self, frames: Sequence[VideoFrame], plan: Plan, form: Form) -> None:
        augment = workloads.pretext().plan.augment
        self.frames, self.frame, self.form, self.crop, self.resize = (
            frames,
            plan.frame,
            form,
            augment.crop,
            augment.resize,
        )
        height, width = workloads.SIZE
        scale = np.array([self.resize[1] / width, self.resize[0] / height])
        self.corner = np.rint(plan.box[:, 0, :2] * scale).astype(int)  # [K, 2] x, y: vcop draws one crop a clip
        self.convert = VideoReformatter()
        std = torch.tensor(augment.std)
        self.factor = (1 / (255 * std)).view(3, 1, 1, 1)
        shape = (*self.crop, 3) if form == "rgb24" else (3, *self.crop)
        self.stacked = torch.empty((plan.frame.size, *shape), dtype=torch.uint8)
        self.offset = (-torch.tensor(augment.mean) / std).view(3, 1, 1, 1)

    def __call__(self, out: torch.Tensor | None = None) -> torch.Tensor:
        """out: memory to write to; None takes new memory."""
        slots, times = self.frame.shape
        cut = [self._crop(self.frames[self.frame[k, t]], *self.corner[k]) for k in range(slots) for t in range(times)]
        shown = torch.stack(cut, out=self.stacked if out is not None else None)
        if self.form == "rgb24":
            shown = shown.view(slots, times, *self.crop, 3).permute(0, 4, 1, 2, 3)
        else:
            shown = shown.view(slots, times, 3, *self.crop).transpose(1, 2)
        clips = out.copy_(shown) if out is not None else shown.contiguous().float()
        return clips.mul_(self.factor).add_(self.offset)

    def _crop(self, frame: VideoFrame, x: int, y: int) -> torch.Tensor:
        """uint8 [h, w, 3] (rgb24) or [3, h, w] (gbrp) of the resized picture."""
        height, width = self.resize
        small = self.convert.reformat(frame, width, height, self.form, interpolation=Interpolation.BILINEAR, threads=1)
        rows, cols = slice(y, y + self.crop[0]), slice(x, x + self.crop[1])
        views = [
            torch.frombuffer(plane, dtype=torch.uint8).view(plane.height, plane.line_size) for plane in small.planes
        ]
        if self.form == "rgb24":
            return views[0][rows, 3 * cols.start : 3 * cols.stop].reshape(self.crop[0], self.crop[1], 3)
        green, blue, red = (view[rows, cols] for view in views)
        return torch.stack((red, green, blue))


def assembler(
    frames: Frames, plan: Plan, dtype: DType = "float32", layout: Layout = "kcthw", out: torch.Tensor | None = None
) -> Callable[[], torch.Tensor]:
    """assemble of torch arrays: into new memory, or into `out`, as the loader's graph does it."""
    held = Frames(data=torch.from_numpy(frames.data), number=frames.number, size=frames.size, space=frames.space)
    drawn = Plan(*(torch.from_numpy(np.asarray(part)) for part in plan))
    size = workloads.pretext().plan.augment.crop

    def work() -> torch.Tensor:
        clips: torch.Tensor = ops.assemble(held, drawn, size=size, dtype=dtype, layout=layout, out=out)
        return clips

    return work


def bench_assemble(repeats: int, out: Path | None) -> None:
    """Every form of the output; the encoder's usual one against swscale, with new memory for every call and with memory
    that is kept.
    """
    frames, shown = workloads.frames(48)
    plan = workloads.planned(workloads.pretext())
    for dtype, layout, kept in FORMS:
        clips = assembler(frames, plan, dtype, layout)()
        ours = assembler(frames, plan, dtype, layout, clips if kept else None)
        target, memory = torch.empty_like(clips), torch.empty_like(clips) if kept else None
        cases: dict[str, Callable[[], object]] = {"vidssl assemble": ours}
        if (dtype, layout) == ("float32", "kcthw"):
            for form in PACKED_AND_PLANAR:
                cases[f"swscale {form} + torch"] = partial(Swscale(shown, plan, form), memory)
        cases["copy of as many bytes (bound)"] = partial(target.copy_, clips.clone())
        spent = interleave(
            {name: timed(work) for name, work in cases.items()}, repeats=repeats, warmup=3, title=f"assemble {dtype}"
        )
        axes = "K, C, T, H, W" if layout == "kcthw" else "K, T, H, W, C"
        workload = f"assemble to {dtype} [{axes}], {'kept' if kept else 'new'} memory"
        facts = {
            "threads": 1,
            "in": f"{frames.data.nbytes / 1e6:.2f} MB",
            "out": f"{clips.nbytes / 1e6:.2f} MB, {list(clips.shape)}",
        }
        report(compare("kernels", workload, spent, subject="vidssl assemble", item="tuple", facts=facts), out)


def torch_motion(luma: torch.Tensor) -> torch.Tensor:
    """`sad` of vidssl.ops.motion by torch, int32 [F - 1, H / 16, W / 16]: H and W divide by 16, and no thumbnails."""
    count, height, width = luma.shape
    blocks = luma.reshape(count, height // 4, 4, width // 4, 4).sum(dim=(2, 4), dtype=torch.int16)  # at most 16 * 255
    change = (blocks[1:] - blocks[:-1]).abs()
    return change.view(count - 1, height // 16, 4, width // 16, 4).sum(dim=(2, 4), dtype=torch.int32)


def bench_motion(repeats: int, out: Path | None) -> None:
    frames, _ = workloads.frames(SAMPLES)
    luma = torch.from_numpy(frames.data)[:, : workloads.SIZE[0]]
    cases = {
        "vidssl motion": timed(lambda: ops.motion(frames)),
        "torch (no thumbnails)": timed(lambda: torch_motion(luma)),
    }
    spent = interleave(cases, repeats=repeats, warmup=3, title="motion")
    workload = f"motion, {SAMPLES} frames 320x240 YUV 4:2:0"
    report(compare("kernels", workload, spent, subject="vidssl motion", item="window", facts={"threads": 1}), out)


def numpy_plan(rng: np.random.Generator, table: Any, labels: Any) -> tuple[Any, ...]:
    """What VCOP draws, by numpy in Python: an order, one crop a clip, and the tables that assemble reads."""
    which = int(rng.integers(len(labels)))
    slots, times = table.shape[1:]
    start = np.arange(slots) * (times + 8)
    frame = (start[:, None] + np.arange(times))[table[which, :, 0] // times].astype(np.int32)
    corner = np.stack((rng.integers(0, 171 - 112 + 1, slots), rng.integers(0, 128 - 112 + 1, slots)), axis=-1)
    box = np.empty((slots, times, 4), np.float32)
    box[..., :2] = (corner * (320 / 171, 240 / 128))[:, None]
    box[..., 2:] = 112 * 320 / 171, 112 * 240 / 128
    color = np.zeros((slots, times, 3, 4), np.float32)
    color[..., range(3), range(3)] = 1 / (255 * np.array(workloads.STD))
    color[..., 3] = -np.array(workloads.MEAN) / workloads.STD
    return frame, box, np.zeros(slots, np.uint8), color, labels[which]


def bench_plan(repeats: int, out: Path | None) -> None:
    spec = workloads.pretext().plan
    rng = np.random.default_rng(0)

    def ours() -> None:
        for sample in range(SAMPLES):
            ops.plan(spec, frames=spec.frames, size=workloads.SIZE, seed=0, epoch=0, sample=sample)

    def theirs() -> None:
        for _ in range(SAMPLES):
            numpy_plan(rng, spec.arrangements, spec.labels)

    spent = interleave({"vidssl plan": timed(ours), "numpy": timed(theirs)}, repeats=repeats, warmup=3, title="plan")
    workload = f"plan, {SAMPLES} VCOP tuples, a call each"
    report(compare("kernels", workload, spent, subject="vidssl plan", item="batch", facts={"threads": 1}), out)


def main(
    *,
    out: Path | None = None,
    repeats: int = 41,
    only: Literal["all", "assemble", "motion", "plan"] = "all",
    bodies: bool = True,
) -> None:
    """Measure the kernels' CPU twins on one thread.

    Args:
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        repeats: Rounds; each runs every case once.
        only: One kernel.
        bodies: Measure assemble also by the slower instruction sets that this processor has, each in a process of its
            own.
    """
    torch.set_num_threads(1)
    if only in ("all", "assemble"):
        bench_assemble(repeats, out)
    if only in ("all", "motion"):
        bench_motion(repeats, out)
    if only in ("all", "plan"):
        bench_plan(repeats, out)
    if bodies and only in ("all", "assemble"):
        names = ("avx512", "avx2", "plain")
        target = ["--out", str(out)] if out is not None else []
        for body in names[names.index(build_info()["simd"]) + 1 :]:
            call = [
                sys.executable,
                "-m",
                "benchmarks.bench_kernels",
                "--only",
                "assemble",
                "--no-bodies",
                "--repeats",
                str(repeats),
                *target,
            ]
            subprocess.run(call, env={**os.environ, "VIDSSL_SIMD": body}, check=True)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
