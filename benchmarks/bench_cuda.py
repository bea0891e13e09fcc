"""The CUDA twins against the copy bandwidth of the same device, measured in the same run.

    python -m benchmarks.bench_cuda --out benchmarks/results
    python -m benchmarks.bench_cuda --device cpu --tuples 2      # the same by the CPU twins: only to see that it runs

A copy reads and writes each byte once; its bytes are counted twice. assemble: each byte of the planes within a shown
box, once, and each byte of the output, once. motion: each byte of luma once. The work of a whole batch is given as one
call: as many slots, or frames, as all its tuples have. plan, and the three as the loader launches them: by the
profiler, in the DALI graph with a batch of 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from benchmarks import workloads
from benchmarks.harness import Case, Spent, append, circumstances, compare, interleave, measured, report, timed
from vidssl import ops
from vidssl.kernels.plan import PlanSpec
from vidssl.recipes import RECIPES
from vidssl.types import RGB, Frames, Plan, VidsslError

SPAN = 64
CALLS = 8  # of a kernel in a recorded graph
FORMS: tuple[Literal["yuv420", "rgb"], ...] = ("yuv420", "rgb")


def on_device(work: Callable[[], object], device: str, *, recorded: bool = True) -> Case:
    """A case of what the device works, by its own clock; on the CPU by the host's.

    recorded: record the calls as a graph, and play it back, since a launch of a kernel of ours from Python takes longer
    than some kernels. In a graph, a copy is slower than by itself.
    """
    if device == "cpu":
        return timed(work)

    def calls() -> None:
        for _ in range(CALLS):
            work()

    run: Callable[[], object] = calls
    work()
    if recorded:
        make: Any = torch.cuda.CUDAGraph
        graph = make()
        with torch.cuda.graph(graph):
            calls()
        run = graph.replay

    def case(_: int) -> Spent:
        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        run()  # the device works on this while the next ones are launched
        start.record()
        run()
        end.record()
        end.synchronize()
        return Spent(start.elapsed_time(end) / 1e3 / CALLS, 0.0)

    return case


def frames_of(count: int, form: str, device: str) -> Frames:
    """`count` frames of 320 x 240, the same 64 again and again, in memory of their own."""
    held, shown = workloads.frames(SPAN)
    data = held.data if form == "yuv420" else np.stack([frame.to_ndarray(format="rgb24") for frame in shown])
    tiled = torch.from_numpy(data).to(device).repeat(-(-count // SPAN), *[1] * (data.ndim - 1))[:count]
    return Frames(
        data=tiled, number=np.arange(count), size=workloads.SIZE, space=held.space if form == "yuv420" else RGB
    )


def batch_plan(tuples: int, device: str) -> Plan:
    """The plans of `tuples` VCOP tuples as one of 3 x tuples slots, each with its own frames."""
    plans = [workloads.planned(workloads.pretext(), sample) for sample in range(tuples)]
    moved = [plan._replace(frame=plan.frame + at * SPAN) for at, plan in enumerate(plans)]
    return Plan(
        *(
            torch.from_numpy(np.concatenate([np.atleast_1d(part) for part in parts])).to(device)
            for parts in zip(*moved, strict=True)
        )
    )


def touched(plan: Plan, form: str) -> int:
    """Bytes of the source within the boxes, once each."""
    (height, width), total = workloads.SIZE, 0
    for x, y, w, h in plan.box.reshape(-1, 4).cpu().numpy():
        rows, cols = min(y + h, height) - max(y, 0), min(x + w, width) - max(x, 0)
        total += int(rows * cols * (1.5 if form == "yuv420" else 3))
    return total


def bench(
    name: str,
    ours: Callable[[], object],
    moved: int,
    device: str,
    repeats: int,
    out: Path | None,
    facts: dict[str, Any],
    resume: bool,
) -> None:
    """One kernel against a copy of as many bytes as it moves."""
    if resume and measured("cuda", name, out):
        return
    source = torch.empty(max(moved // 2, 1), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    cases = {
        name: on_device(ours, device),
        "copy of as many bytes": on_device(lambda: target.copy_(source), device, recorded=False),
    }
    spent = interleave(cases, repeats=repeats, warmup=2, title=name)
    result = compare("cuda", name, spent, subject=name, item="batch", facts=facts)
    share = result.speedup["copy of as many bytes"].median
    rates = {case: f"{moved / wall.median / 1e6:.0f} GB/s" for case, wall in result.wall.items()}
    report(
        replace(
            result,
            facts={**facts, "MB moved": round(moved / 1e6, 1), "share of the copy bandwidth": round(share, 3), **rates},
        ),
        out,
    )


def bench_kernels(device: str, tuples: int, repeats: int, out: Path | None, resume: bool) -> None:
    plan = batch_plan(tuples, device)
    size = workloads.pretext().plan.augment.crop
    about = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "tuples": tuples}
    for form in FORMS:
        frames = frames_of(tuples * SPAN, form, device)
        for dtype in ("float32", "bfloat16"):
            clips = ops.assemble(frames, plan, size=size, dtype=dtype)

            def assembled(frames: Frames = frames, clips: torch.Tensor = clips, dtype: Any = dtype) -> None:
                ops.assemble(frames, plan, size=size, dtype=dtype, out=clips)

            moved = touched(plan, form) + clips.nbytes
            bench(f"assemble {form} to {dtype}", assembled, moved, device, repeats, out, about, resume)
        luma = tuples * SPAN * workloads.SIZE[0] * workloads.SIZE[1] * (1 if form == "yuv420" else 3)

        def scored(frames: Frames = frames) -> None:
            ops.motion(frames)

        bench(f"motion {form}", scored, luma, device, repeats, out, about, resume)


def graph_kernels(spec: PlanSpec, batch: int, frames: Frames) -> dict[str, float]:
    """Microseconds a batch of each of our kernels, in a DALI graph over planes that lie on the device. Needs CUPTI."""
    from nvidia.dali import fn, pipeline, types

    from vidssl.native import load_plugin

    load_plugin()
    source = np.array([*frames.size, *frames.space.chroma, *frames.space.to_rgb.ravel()], dtype=np.float32)
    make: Any = pipeline.Pipeline
    graph = make(batch_size=batch, num_threads=2, device_id=0, prefetch_queue_depth=1, exec_dynamic=True)
    ours: Any = fn
    with graph:
        data = fn.external_source(name="frames", batch=True, device="gpu", no_copy=True)
        constant: Any = types.Constant
        about = constant(source, device="cpu")
        place = fn.external_source(name="place", batch=True)
        sad, thumb = ours.vidssl.motion(data, source=about)
        frame, box, flip, color, label, status = ours.vidssl.plan(
            sad,
            thumb,
            source=about,
            place=place,
            plan=spec.text,
            arrangements=spec.arrangements.ravel().tolist(),
            labels=spec.labels.tolist(),
        )
        clips = ours.vidssl.assemble(
            data, frame, box, flip, color, source=about, size=list(spec.augment.crop), output_type="bfloat16"
        )
        graph.set_outputs(clips, label, status)
    graph.build()

    def run() -> None:
        graph.feed_input("frames", [frames.data] * batch)
        graph.feed_input("place", [np.array([0, sample], np.int64) for sample in range(batch)])
        graph.run()
        torch.cuda.synchronize()

    run()
    rounds = 5
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(rounds):
            run()
    found: dict[str, float] = {}
    for event in seen.key_averages():
        for name in ("plan_kernel", "motion_kernel", "assemble_kernel"):
            if name in event.key:
                found[name] = found.get(name, 0.0) + event.device_time_total / rounds
    if "plan_kernel" not in found:
        raise VidsslError(
            "the profiler saw none of our kernels, because CUPTI does not work on this machine: "
            "leave the graph out (--no-graph)"
        )
    return {name: round(microseconds, 2) for name, microseconds in found.items()}


def bench_graph(batch: int, out: Path | None, resume: bool) -> None:
    for recipe in ("vcop_r3d", "opn_caffenet", "shuffle_learn_caffenet"):
        if resume and measured("graph", f"{recipe}, batch {batch}", out):
            continue
        spec = RECIPES[recipe]().pretext.plan
        frames = frames_of(spec.frames, "yuv420", "cuda")
        found = graph_kernels(spec, batch, frames)
        print(f"graph {recipe}, batch {batch}, microseconds: {found}")
        line = {
            "bench": "graph",
            "workload": f"{recipe}, batch {batch}",
            "microseconds": found,
            "frames": spec.frames,
            **circumstances(),
        }
        append({**line, "device": torch.cuda.get_device_name()}, out)


def main(
    *,
    device: Literal["cuda", "cpu"] = "cuda",
    tuples: int = 32,
    repeats: int = 21,
    batch: int = 64,
    graph: bool = True,
    resume: bool = False,
    out: Path | None = None,
) -> None:
    """Measure the CUDA twins against the device's copy bandwidth, and as the loader launches them.

    Args:
        device: cpu runs the same by the CPU twins, without the graph: a trial, not a result.
        tuples: VCOP tuples of a batch for assemble and motion: more than fit into the device's caches.
        repeats: Rounds; each runs every case once.
        batch: Tuples of a batch in the graph.
        graph: Profile the graph as well.
        resume: Leave out what `out` has already, of this commit.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise VidsslError("--device cuda: torch sees no CUDA device; take --device cpu to see that it runs")
    bench_kernels(device, tuples, repeats, out, resume)
    if graph and device == "cuda":
        bench_graph(batch, out, resume)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
