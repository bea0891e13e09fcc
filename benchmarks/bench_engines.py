"""Which engine serves plans that need motion on the CPU? Inline against the DALI graph, and with motion that is kept.

    python -m benchmarks.bench_engines --data ../shared/data/clips/bikes.mp4 --out benchmarks/results

Each case is a loader of windows of one clip, with frames that are decoded, or kept in a store of each of SIZES. The
store of "inline" has the motion of the frames too; the other cases measure it again for each window.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
import tyro

from benchmarks import workloads
from benchmarks.bench_loader import WARMUP, Windows, clips, loader_case
from benchmarks.harness import compare, interleave, report
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.recipes import RECIPES

SIZES = ((240, 320), (128, 171))
INLINE, MEASURED, GRAPH = "inline", "inline, motion measured", "DALI graph"


def bench(
    index: VideoIndex,
    recipe: str,
    stores: dict[str, FrameStore | None],
    *,
    title: str,
    workers: int,
    repeats: int,
    batches: int,
    windows: int,
    out: Path | None,
) -> None:
    """One clip, recipe, size and number of workers. stores: of each case."""
    warmup, made = 1, RECIPES[recipe]()
    tuples = made.train.tuples_per_window
    with ExitStack() as stack:
        cases = {}
        for name, store in stores.items():
            loader = stack.enter_context(
                Loader(
                    index,
                    made.pretext,
                    batch_size=windows * tuples,
                    tuples_per_window=tuples,
                    device="cpu",
                    workers=workers,
                    engine="dali" if name == GRAPH else "inline",
                    store=store,
                )
            )
            cases[name] = loader_case(loader, Windows(index, loader.sampler, windows * tuples, batches, warmup))
        spent = interleave(cases, repeats=repeats, warmup=warmup, title=title)
    facts = {
        "frames of a window": made.pretext.plan.frames,
        "tuples of a window": tuples,
        "windows of a batch": windows,
    }
    result = compare("engines", title, spent, subject=INLINE, item="sample", facts=facts)
    rates = {f"{name}, samples/s": round(1e3 / wall.median, 1) for name, wall in result.wall.items()}
    report(replace(result, facts={**facts, **rates}), out)


def sources(index: VideoIndex, folder: Path) -> Iterator[tuple[str, dict[str, FrameStore | None]]]:
    """Yields how frames are had, and the store of each case: none, then those of each size, with the whole clip."""
    yield "decoded", {INLINE: None, GRAPH: None}
    for height, width in SIZES:
        frames, motion = (folder / f"{height}x{width}{what}" for what in ("", "_motion"))
        FrameStore(frames, (height, width)).fill(index.select([0]), progress=False)
        shutil.copytree(frames, motion)
        scored = FrameStore(motion, (height, width))
        scored.keep_motion(index.video(0))
        scored.flush()
        bare = FrameStore(frames, (height, width), limit=0)
        yield f"kept at {height}x{width}", {INLINE: scored, MEASURED: bare, GRAPH: bare}


def main(
    *,
    data: tuple[Path, ...] = (),
    recipes: tuple[str, ...] = ("opn_caffenet", "shuffle_learn_resnet18", "opn_tiny"),
    out: Path | None = None,
    workers: tuple[int, ...] = (1, 2),
    repeats: int = 7,
    batches: int = 8,
    windows: int = 8,
) -> None:
    """Measure the engines on plans that need motion.

    Args:
        data: Video files; by default a clip that is made here.
        recipes: Recipes whose plans need motion.
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        workers: Numbers of the loader's workers.
        repeats: Rounds; each runs every case once.
        batches: Batches that a case of a round takes, after those that bring the loader to its steady state.
        windows: Windows of a batch.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        made = () if data else workloads.CLIPS[2:3]
        for at, path in enumerate(clips(data, made, Path(folder))):
            index = workloads.repeated(path, (WARMUP + batches) * windows, Path(folder) / f"clip{at}")
            for kept, stores in sources(index, Path(folder) / f"store{at}"):
                for recipe in recipes:
                    for count in workers:
                        title = f"{path.name}, {kept}, {recipe}, {count} worker{'s' if count > 1 else ''}"
                        bench(
                            index,
                            recipe,
                            stores,
                            title=title,
                            workers=count,
                            repeats=repeats,
                            batches=batches,
                            windows=windows,
                            out=out,
                        )


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
