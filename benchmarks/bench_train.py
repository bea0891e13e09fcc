"""Training as vidssl does it against the loop that one writes first, over the same model: clips a second, and what
waiting for data costs.

    python -m benchmarks.bench_train --out benchmarks/results                       # R3D, five minutes on two cores
    python -m benchmarks.bench_train --recipe vcop_r3d_tiny --batch-size 16
    python -m benchmarks.bench_train --store 128 171 --no-plain                     # from a store, not by decoding

* vidssl: the loader, bf16 autocast where it pays (AMX, GPUs), channels last, all clips of a batch in one call, fused
SGD.
* plain loop: DataLoader processes with PyAV and torch, float32, the encoder called once a slot, torch.optim.SGD.

Both also with one batch again and again: the difference is what data costs. Both have the same threads.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
import tyro
from torch.utils.data import DataLoader

from benchmarks import workloads
from benchmarks.bench_loader import clips
from benchmarks.bench_peers import Tuples, job
from benchmarks.harness import Case, Spent, Stopwatch, compare, interleave, measured, report
from benchmarks.stores import fill_linked, linked
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.cpus import cpus
from vidssl.device import pick_device
from vidssl.pretext import Vcop, build_model
from vidssl.recipes import RECIPES
from vidssl.train.compute import count, pick_amp
from vidssl.train.config import Recipe
from vidssl.train.distributed import ProcessGroup
from vidssl.train.schedule import Schedule
from vidssl.train.step import Stepper
from vidssl.types import Batch, VidsslError

OURS, OURS_CONSTANT, PLAIN, PLAIN_CONSTANT = (
    "vidssl",
    "vidssl, constant batch",
    "plain loop",
    "plain loop, constant batch",
)
COPIES = 4096  # rows of an index whose windows are decoded: an epoch is never over
KEPT = 128  # videos of a store: more than the caches of a GPU hold. Each is one row: a GPU keeps a copy of each row's


class Peak:
    """Most memory in use within a with-block, GiB: of this process on the CPU (Source: proc(5), clear_refs and VmHWM),
    or on the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.most = device, 0.0

    def __enter__(self) -> Peak:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            now = torch.cuda.max_memory_allocated(self.device) / 2**30
        else:
            found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
            now = int(found[1]) / 2**20 if found else 0.0
        self.most = max(self.most, now)


def case_of(step: Callable[[], int], steps: int, device: torch.device, peak: Peak) -> Case:
    """step: trains on one batch, and says how many clips that was."""

    def case(turn: int) -> Spent:
        step()  # what the other cases left in the caches goes
        with peak, Stopwatch() as watch:
            count = sum(step() for _ in range(steps))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        return watch.per(count)

    return case


Steps = tuple[Callable[[], int], Callable[[], int]]


def ours(
    recipe: Recipe,
    index: VideoIndex,
    device: torch.device,
    workers: int,
    stack: ExitStack,
    store: FrameStore | None = None,
) -> tuple[Steps, str]:
    """(a step on the loader's next batch, a step on the same batch each time), and the precision."""
    config = recipe.train
    torch.manual_seed(0)
    model = build_model(recipe.pretext, recipe.encoder, slotwise_bn=config.slotwise_bn).to(device).train()
    amp = pick_amp(config.amp, device, count(model))
    stepper = Stepper(model, config, ProcessGroup(device=device), amp=amp, schedule=Schedule(config, total=1, epoch=1))
    loader = Loader(
        index,
        recipe.pretext,
        batch_size=config.batch_size,
        device=device,
        workers=workers,
        seed=0,
        channels_last=True,
        dtype="bfloat16" if amp else "float32",
        decode=config.decode,
        store=store,
    )
    stack.callback(loader.close)
    batches: Iterator[Batch] = chain.from_iterable(repeat(loader))
    kept = next(batches)

    def train(batch: Batch) -> int:
        stepper.backward(batch, 0)
        stepper.update(0)
        return int(batch.frame[:, :, 0].numel())

    return ((lambda: train(next(batches))), (lambda: train(kept))), "bf16" if amp else "off"


def plain_loop(recipe: Recipe, index: VideoIndex, device: torch.device, workers: int) -> Steps:
    """The same for the loop that one writes first."""
    torch.manual_seed(0)
    config = recipe.train
    model = build_model(recipe.pretext, recipe.encoder, slotwise_bn=True).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    frames = index.frames(0)
    jobs = [job(index, number % len(index), number * 37 % (frames - 63)) for number in range(COPIES)]
    data: DataLoader[Any] = DataLoader(
        Tuples("PyAV + torch"),
        batch_size=config.batch_size,
        sampler=jobs,
        num_workers=workers,
        multiprocessing_context="spawn",
    )
    batches = iter(data)
    kept = next(batches)[0]

    def train(clips: torch.Tensor) -> int:
        label = torch.arange(len(clips)) % 6
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(clips.to(device)), label.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return clips.shape[0] * clips.shape[1]

    return (lambda: train(next(batches)[0])), (lambda: train(kept))


def bench(
    path: Path,
    scratch: Path,
    recipe: Recipe,
    name: str,
    *,
    device: torch.device,
    threads: int,
    workers: int,
    steps: int,
    repeats: int,
    with_plain: bool,
    size: tuple[int, int] | None,
    out: Path | None,
    resume: bool,
) -> None:
    title = f"{name}, {path.name}, {device.type}" + (f", store of {size[0]}x{size[1]}" if size else "")
    if resume and measured("train", title, out):
        return
    store: FrameStore | None = None
    if size is None:
        index = workloads.repeated(path, COPIES, scratch)
    else:
        index, store = linked([path], KEPT, scratch), FrameStore(scratch.with_suffix(".store"), size)
        fill_linked(store, index, 1)
    peaks = {case: Peak(device) for case in (OURS, OURS_CONSTANT, PLAIN, PLAIN_CONSTANT)}
    with ExitStack() as stack:
        steps_of, amp = ours(recipe, index, device, workers, stack, store)
        made = dict(zip((OURS, OURS_CONSTANT), steps_of, strict=True))
        if with_plain:
            made |= zip((PLAIN, PLAIN_CONSTANT), plain_loop(recipe, index, device, workers), strict=True)
        cases = {case: case_of(step, steps, device, peaks[case]) for case, step in made.items()}
        spent = interleave(cases, repeats=repeats, warmup=1, title=title)
    wall = {case: sum(one.wall for one in found) for case, found in spent.items()}
    facts: dict[str, Any] = {
        "clips/s": {case: round(len(found) / wall[case], 2) for case, found in spent.items()},
        "share of the step that data costs": round(1 - wall[OURS_CONSTANT] / wall[OURS], 4),
        "peak memory, GiB": {case: round(peaks[case].most, 2) for case in made},
        "amp": amp,
        "threads": threads,
        "workers": workers,
        "batch": recipe.train.batch_size,
        "device": _named(device),
    }
    report(compare("train", title, spent, subject=OURS, item="clip", facts=facts), out)


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def main(
    *,
    recipe: str = "vcop_r3d",
    data: tuple[Path, ...] = (),
    device: str = "cpu",
    batch_size: int = 4,
    threads: int | None = None,
    workers: int | None = None,
    steps: int = 1,
    repeats: int = 3,
    plain: bool = True,
    store: tuple[int, int] | None = None,
    keep: Path | None = None,
    quick: bool = False,
    resume: bool = False,
    out: Path | None = None,
) -> None:
    """Measure training against a plain loop.

    Args:
        recipe: Of VCOP; it is given slotwise_bn=False, so that all clips of a batch go through the encoder in one call.
        data: Video files to train on, each on its own; none takes one that is made here.
        device: Where to compute.
        batch_size: Tuples a step.
        threads: That torch computes with on a CPU; none takes one a core.
        workers: That decode; none takes one a core.
        steps: Of a case in a round, after one that does not count.
        repeats: Rounds; each runs every case once.
        plain: Measure the plain loop too.
        store: (height, width) of a full store from which the loader takes its frames; none decodes each window.
        keep: Folder that keeps the clip made here, for the next time.
        quick: On a short clip: to see that it runs.
        resume: Leave out what `out` has already, of this commit.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if recipe not in RECIPES or not isinstance(RECIPES[recipe]().pretext, Vcop):
        raise VidsslError(
            f"recipe={recipe!r}: take one of VCOP's: {', '.join(name for name in RECIPES if name.startswith('vcop'))}"
        )
    picked, cores = pick_device(device), cpus()
    chosen = RECIPES[recipe]()
    chosen = replace(chosen, train=replace(chosen.train, batch_size=batch_size, slotwise_bn=False, amp="auto"))
    torch.set_num_threads(threads or cores)
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        made = () if data else workloads.QUICK if quick else workloads.CLIPS[2:3]
        for at, path in enumerate(clips(data, made, keep or Path(folder))):
            bench(
                path,
                Path(folder) / str(at),
                chosen,
                recipe,
                device=picked,
                threads=threads or cores,
                workers=workers or cores,
                steps=steps,
                repeats=repeats,
                with_plain=plain and chosen.pretext == Vcop(),
                size=store,
                out=out,
                resume=resume,
            )


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
