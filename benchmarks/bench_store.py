"""The store: against other libraries that decode, against other frame stores, and against itself without one.

    make bench-store ARGS="--data CLIP... --out benchmarks/results"
    python -m benchmarks.bench_store --pieces epochs --device cuda --out benchmarks/results

| piece | what is compared |
|---|---|
| peers | the loader from the store at 128 x 171, the loader that decodes, and every library of bench_peers |
| formats | the loader from the store, and the frame stores of frame_stores.py (see store_formats.py) |
| epochs | of each published method: later epochs by each backend, the first one, and decoding each; one core, all |
| disk | an epoch with the shards in the page cache, and on the disk |
| index | `VideoIndex.build` alone, and keeping what it decodes |
| memory | what processes that use one store at a time have in memory (see store_memory.py) |

Each clip stands for many videos: a store holds it so often that the processor's caches do not hold the store. What is
not installed is left out, and said to be.
"""

from __future__ import annotations

import gc
import math
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from tqdm import tqdm

from benchmarks import workloads
from benchmarks.bench_loader import PRETEXT, WARMUP, Windows, loader_case
from benchmarks.bench_motion import clips
from benchmarks.bench_peers import Tuples, in_processes, in_threads, peer_case
from benchmarks.harness import Case, Spent, Stopwatch, compare, interleave, measured, report
from benchmarks.peers import PEERS, installed
from benchmarks.store_formats import formats
from benchmarks.store_memory import memory
from benchmarks.stores import SMALL, Settings, about, evict, linked, pinned, resident
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.cpus import cpus
from vidssl.recipes import RECIPES
from vidssl.store.choose import Name
from vidssl.store.frames import Size
from vidssl.types import VidsslError

Piece = Literal["peers", "formats", "epochs", "disk", "index", "memory"]
PIECES: tuple[Piece, ...] = ("peers", "formats", "epochs", "disk", "index", "memory")
METHODS: tuple[tuple[str, str, Size], ...] = (  # name, recipe, size of the store: what the recipe resizes to
    ("VCOP, 128x171", "vcop_r3d", SMALL),
    ("VCOP, native 240p", "vcop_r3d", "native"),
    ("OPN, 240x320", "opn_caffenet", (240, 320)),
    ("Shuffle and Learn, 227x227", "shuffle_learn_caffenet", (227, 227)),
    ("Odd-One-Out, 227x227", "odd_one_out_alexnet", (227, 227)),
)
NAMES = tuple(method[0] for method in METHODS)
STORED, DECODING, FIRST = "later epochs, from the store", "decoding each epoch", "first epoch, into an empty store"
OTHERS: tuple[Name, ...] = ("memory", "device")  # backends beside "file", which all pieces take
KEPT_SIZES: tuple[Size, ...] = (SMALL, "native")


def plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def peers(path: Path, settings: Settings, workers: int) -> None:
    """One clip: from the store, decoding, and, of all libraries, the three ways that were fastest in a trial round."""
    title = f"{path.name}, {plural(workers, 'worker')}"
    if settings.resume and measured("store_peers", title, settings.out):
        return
    store, videos = settings.filled([path], SMALL, "peers")
    index, failed = settings.long(videos, PRETEXT.plan.frames), Counter[str]()
    with ExitStack() as stack:
        make = partial(Loader, index, PRETEXT, batch_size=settings.batch_size, device="cpu", workers=workers, seed=0)
        kept, decoding = stack.enter_context(make(store=store)), stack.enter_context(make())
        windows = settings.windows(decoding, fast=False)
        ours = {
            STORED: loader_case(kept, settings.windows(kept, fast=True)),
            DECODING: loader_case(decoding, windows),
        }
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        others: dict[str, Case] = {}
        broken: dict[str, str] = {}
        for name in installed():
            if reason := fails(name, path):  # found before it is timed: SPDL hangs where it has failed often
                tqdm.write(f"{path.name}: {name} is not timed: {reason}")
                broken[name] = reason
                continue
            threads = partial(in_threads, PEERS[name][0], pool, size=settings.batch_size)
            others[f"{name}, threads"] = peer_case(threads, windows, failed, name, threads=True)
            processes = in_processes(Tuples(name), workers, settings.batch_size)
            others[f"{name}, processes"] = peer_case(processes, windows, failed, name, threads=False)
        trial = interleave(ours | others, repeats=1, warmup=0, title=f"{title}, trial")
        took = {name: round(1e3 * trial[name][0].wall, 1) for name in others}
        able = sorted((name for name in took if not failed[name.rpartition(", ")[0]]), key=lambda name: took[name])
        cases = ours | {name: others[name] for name in able[:3]}
        spent = interleave(cases, repeats=settings.repeats, warmup=0, title=title)
        facts = {
            **about(store, videos),
            "trial, ms a sample": took,
            "failed windows": dict(+failed),
            "fails": broken,
            "not installed": sorted(set(PEERS) - set(installed())),
            "windows from the store": f"{kept.stats['stored']} of {kept.stats['windows']}",
        }
    report(compare("store_peers", title, spent, subject=STORED, item="sample", facts=facts), settings.out)


def fails(peer: str, path: Path) -> str:
    """Why a library cannot decode the first window of a clip; empty if it can."""
    try:
        PEERS[peer][0](str(path), [*range(16), *range(24, 40), *range(48, 64)])
    except Exception as error:  # whatever a library throws is its answer
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def first_case(
    make: Callable[..., Loader], size: Size, settings: Settings, windows: Windows, stats: dict[str, int]
) -> Case:
    """The first batches of a run with an empty store, which is filled in the background at the same time."""
    number = count()

    def case(turn: int) -> Spent:
        folder = settings.folder / f"first-{next(number)}"
        with make(store=FrameStore(folder, size, backend="file")) as loader:
            spent = loader_case(loader, windows)(turn)
            stats.update(loader.stats)
        shutil.rmtree(folder)
        return spent

    return case


def epochs(
    paths: Sequence[Path], settings: Settings, method: tuple[str, str, Size], cores: int, *, decode: bool
) -> None:
    """One method, from a full store, and if `decode`, into an empty one (on all cores), and decoding each epoch.

    An epoch shows each video of the full store once, so that after the warm-up all lie where a backend has them.
    """
    name, recipe, size = method
    on_gpu = settings.device == "cuda"
    title, task = f"{name}, {plural(cores, 'core')}{', on the GPU' * on_gpu}", RECIPES[recipe]().pretext
    if settings.resume and measured("store_epochs", title, settings.out):
        return
    usable = len(linked(paths, 1, settings.folder / "usable").usable(task.plan.frames))
    store, videos = settings.filled(paths, size, "epochs", least=-(-settings.batch_size // max(1, usable)))
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        stack.enter_context(pinned(cores))
        make = partial(
            Loader,
            batch_size=settings.batch_size,
            device=settings.device,
            workers=cores,
            seed=0,
            dtype="bfloat16" if on_gpu else "float32",
        )
        kept = stack.enter_context(make(videos, task, store=store))
        cases = {STORED: loader_case(kept, settings.windows(kept, fast=True))}
        for backend in OTHERS:
            try:
                other = FrameStore(store.folder, size, backend=backend)
            except VidsslError as refusal:  # too little memory may be locked
                left_out[backend] = str(refusal)
                continue
            loader = stack.enter_context(make(videos, task, store=other))
            cases[f"{STORED}, backend {backend}"] = loader_case(loader, settings.windows(loader, fast=True))
        first: dict[str, int] = {}
        if decode:
            decoding = stack.enter_context(make(settings.long(videos, task.plan.frames), task))
            cases[DECODING] = loader_case(decoding, settings.windows(decoding, fast=False))
        if decode and cores == cpus():
            needed = math.ceil((WARMUP + settings.batches) * settings.batch_size / max(1, usable)) + 1
            empty = linked(paths, needed, settings.folder / "first-videos")
            windows = settings.windows(loader := make(empty, task), fast=False)
            loader.close()
            cases[FIRST] = first_case(partial(make, empty, task), size, settings, windows, first)
        spent = interleave(cases, repeats=settings.repeats, title=title)
        facts = about(store, videos) | {
            "engine": kept.engine,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "windows from the store": f"{kept.stats['stored']} of {kept.stats['windows']}",
            "windows from the store, first epoch": f"{first.get('stored', 0)} of {first.get('windows', 0)}",
            "left out": left_out,
        }
    result = compare("store_epochs", title, spent, subject=STORED, item="sample", facts=facts)
    rates = {f"{case}, samples/s": round(1e3 / wall.median, 1) for case, wall in result.wall.items()}
    report(replace(result, facts=facts | rates), settings.out)


def disk(paths: Sequence[Path], settings: Settings, workers: int) -> None:
    """Whole epochs by a store that was just opened: its shards on the disk, in the page cache, or read before."""
    title = f"VCOP, 128x171, {plural(workers, 'worker')}"
    if settings.resume and measured("store_disk", title, settings.out):
        return
    larger = replace(settings, mebibytes=4 * settings.mebibytes)  # an epoch shows each video once
    store, videos = larger.filled(paths, SMALL, "disk", least=4 * settings.batch_size)
    folder, found = store.folder, about(store, videos)
    assert folder is not None
    shards = FrameStore.paths(folder)
    del store  # it holds the shards in memory
    left: list[float] = []

    def epoch(loader: Loader, number: int) -> Spent:
        loader.set_epoch(number)
        with Stopwatch() as watch:
            for _ in loader:
                pass
        return watch.per(len(loader) * settings.batch_size)

    def case(turn: int, *, cold: bool, before: bool) -> Spent:
        gc.collect()  # what is mapped cannot be evicted
        if cold:
            evict(shards)
            left.append(resident(shards))
        opened = FrameStore(folder, SMALL, backend="file")
        make = partial(Loader, videos, PRETEXT, batch_size=settings.batch_size, device="cpu", workers=workers, seed=0)
        with make(store=opened) as loader:
            if before:
                epoch(loader, turn + 1)
                epoch(loader, turn + 2)
            return epoch(loader, turn + 1)

    cases = {
        "in the page cache, read before": partial(case, cold=False, before=True),
        "in the page cache, first reading": partial(case, cold=False, before=False),
        "on the disk": partial(case, cold=True, before=False),
    }
    spent = interleave(cases, repeats=settings.repeats, title=title)
    evict(shards)
    size = sum(path.stat().st_size for path in shards)
    began = time.perf_counter()
    for path in shards:
        with path.open("rb", buffering=0) as file:
            while file.read(2**23):
                pass
    facts = found | {
        "of the shards in the page cache after posix_fadvise, %": [round(100 * part, 2) for part in left],
        "disk, read in order, MB/s": round(size / 1e6 / (time.perf_counter() - began)),
        "a window, MB": round(64 * found["bytes a frame"] / 1e6, 2),
    }
    result = compare("store_disk", title, spent, subject=next(iter(cases)), item="sample", facts=facts)
    report(result, settings.out)


def index(path: Path, settings: Settings, copies: int) -> None:
    """One clip a few times: indexing it, without a store and with one, on all cores."""
    title = path.name
    if settings.resume and measured("store_index", title, settings.out):
        return
    videos = linked([path], copies, settings.folder / "videos")

    def build(_: int, size: Size | None) -> Spent:
        held = settings.folder / "index-store"
        with Stopwatch() as watch:
            store = None if size is None else FrameStore(held, size)
            built = VideoIndex.build(videos.root, progress=False, store=store)
        if store is not None:
            assert not any(store.missing(built.video(int(row))) for row in built.usable())
            shutil.rmtree(held)
        return watch.per(len(built))

    cases: dict[str, Case] = {"index alone": partial(build, size=None)}
    facts: dict[str, Any] = {}
    for size in KEPT_SIZES:
        store = FrameStore(None, size)
        name = f"index with a store of {store.size_text}"
        cases[name], facts[name] = partial(build, size=size), about(store, videos)
    spent = interleave(cases, repeats=settings.repeats, title=title)
    report(compare("store_index", title, spent, subject="index alone", item="video", facts=facts), settings.out)


def of_240p(paths: Sequence[Path], settings: Settings) -> list[Path]:
    """Those whose pictures are 320 x 240."""
    found = linked(paths, 1, settings.folder / "sizes")
    rows = found.table.select(["path", "height", "width"]).to_pylist()
    named = {path.name: path for path in paths}
    return [named[row["path"][5:]] for row in rows if (row["height"], row["width"]) == (240, 320)]


def main(
    *,
    data: tuple[Path, ...] = (),
    made: bool = True,
    pieces: tuple[Piece, ...] = PIECES,
    methods: tuple[str, ...] = NAMES,
    out: Path | None = None,
    workers: int | None = None,
    cores: tuple[int, ...] = (),
    decode: bool = True,
    repeats: int = 3,
    batches: int = 4,
    batch_size: int = 8,
    mebibytes: int = 160,
    keep: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    quick: bool = False,
    resume: bool = False,
) -> None:
    """Measure the store.

    Args:
        data: Video files of at least 64 frames, or folders of them.
        made: Measure also clips that are made here. Without `data`, they are all there is.
        pieces: What to measure, see above.
        methods: Of these methods, in the piece `epochs`.
        out: File (.jsonl) to append to, or a folder for files named after the machine, the day and the commit; none
            only prints.
        workers: Of the loader and of every peer; none takes one a core.
        cores: Numbers of cores of the piece `epochs`; none takes one, and all.
        decode: Measure also the cases of the piece `epochs` that decode, which take most of its time.
        repeats: Rounds; each runs every case once.
        batches: Batches that a case which decodes takes, after warm-up ones; twelve times as many without decoding.
        batch_size: Tuples of a batch.
        mebibytes: Of a store, at least.
        keep: Folder that keeps the clips made here, for the next time.
        device: Where the batches of the piece `epochs` go, as bfloat16 to a GPU. All other pieces take the CPU.
        quick: One short clip: to see that it runs.
        resume: Leave out what `out` has already, of this commit.
    """
    if unknown := sorted(set(methods) - set(NAMES)):
        raise VidsslError(f"--methods {unknown}: take some of {list(NAMES)}")
    if wrong := [number for number in cores if not 1 <= number <= cpus()]:
        raise VidsslError(f"--cores {wrong}: take numbers in 1..{cpus()}")
    if device == "cuda" and pieces != ("epochs",):
        raise VidsslError(
            f"device='cuda', pieces={' '.join(pieces)}: only the piece epochs runs on a GPU; add --pieces epochs"
        )
    torch.set_num_threads(1)
    workers = workers or cpus()
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as scratch:
        folder = Path(scratch) / "clips"
        chosen = (workloads.QUICK_LONG,) if quick else workloads.CLIPS
        paths = (clips(data) if data else []) + [workloads.made(clip, keep or folder) for clip in chosen * made]
        settings = Settings(
            folder=Path(scratch) / "work",
            out=out,
            repeats=repeats,
            batches=batches,
            batch_size=batch_size,
            mebibytes=1 if quick else mebibytes,
            device=device,
            resume=resume,
        )
        settings.folder.mkdir()
        small = of_240p(paths, settings) or paths[:1]
        mixed = paths if len(paths) < 6 else paths[:6]  # the first clips stand for a data set
        every: dict[str, list[Callable[[], None]]] = {
            "peers": [partial(peers, path, settings, workers) for path in paths],
            "formats": [partial(formats, path, settings, workers) for path in small[-1:]],
            "epochs": [
                partial(epochs, small if method[2] == "native" else mixed, settings, method, number, decode=decode)
                for method in METHODS
                if method[0] in methods
                for number in dict.fromkeys(cores or (1, cpus()))
            ],
            "disk": [partial(disk, mixed, settings, workers)],
            "index": [partial(index, path, settings, 4) for path in paths],
            "memory": [partial(memory, mixed, settings, 6 if quick else 12)],
        }
        settings.clean()
        for piece in pieces:
            for work in every[piece]:
                work()
                settings.clean()


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
