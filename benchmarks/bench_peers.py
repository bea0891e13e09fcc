"""The loader against what others offer, on the same windows, up to the same float32 batch [B, 3, 3, 16, 112, 112].

    make bench-peers ARGS="--data CLIP... --out benchmarks/results"

Every peer runs in threads and in processes (torch's DataLoader), as many as the loader has workers; it is given the
frame numbers, and what it returns is cropped, normalised and permuted by torch. A peer that is not installed is left
out, and said to be.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from benchmarks import workloads
from benchmarks.bench_loader import PRETEXT, WARMUP, Windows, bare_case, clips, loader_case
from benchmarks.harness import Case, Spent, compare, interleave, report
from benchmarks.peers import HEIGHT, PEERS, WIDTH, Peer, Pictures, every, installed
from vidssl import Loader, VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import decode

FAILS = "fails"
CHECKED = 8  # windows whose frames are compared with a sequential decode
SLACK = 0.02  # grey levels by which a wrong frame must be nearer than the one asked for


class Job(NamedTuple):
    """One tuple: the frames of its clips, the order that these are shown in, and a corner of each clip's crop."""

    path: str
    numbers: tuple[int, ...]  # ascending
    place: tuple[tuple[int, ...], ...]  # [3][16] positions in numbers
    corner: tuple[tuple[int, int], ...]  # [3] (y, x)


def job(index: VideoIndex, sample: int, first: int) -> Job:
    """What a user's own code would draw: an order of three clips, and a random crop for each."""
    random = np.random.default_rng([sample, first])
    starts = random.permutation([0, 24, 48])
    shown = [range(start, start + 16) for start in starts]
    numbers = sorted({first + n for clip in shown for n in clip})
    corner = [(int(random.integers(HEIGHT - 111)), int(random.integers(WIDTH - 111))) for _ in shown]
    place = tuple(tuple(numbers.index(first + n) for n in clip) for clip in shown)
    return Job(str(index.video(0).path), tuple(numbers), place, tuple(corner))


MEAN = torch.tensor(workloads.MEAN).view(1, 3, 1, 1, 1)
STD = torch.tensor(workloads.STD).view(1, 3, 1, 1, 1)


def tuple_of(peer: Peer, one: Job) -> tuple[torch.Tensor, float]:
    """float32 [3, 3, 16, 112, 112], and the processor seconds it took; all NaN where the peer fails."""
    began = time.process_time()
    try:
        frames = torch.from_numpy(peer(one.path, one.numbers))
    except Exception:  # whatever a library throws is its answer; counted in peer_case
        return torch.full((3, 3, 16, 112, 112), torch.nan), time.process_time() - began
    cut = torch.stack(
        [frames[list(place), y : y + 112, x : x + 112] for place, (y, x) in zip(one.place, one.corner, strict=True)]
    )
    clips = cut.permute(0, 4, 1, 2, 3).contiguous().float()
    clips.mul_(1 / (255 * STD)).sub_(MEAN / STD)
    return clips, time.process_time() - began


class Tuples(Dataset[tuple[torch.Tensor, float]]):
    """Jobs in, tuples out, in DataLoader's processes."""

    def __init__(self, peer: str) -> None:
        self.peer = peer

    def __getitem__(self, one: Any) -> tuple[torch.Tensor, float]:
        torch.set_num_threads(1)
        return tuple_of(PEERS[self.peer][0], one)


class Batches:
    """The jobs of a round, in batches: DataLoader asks for them anew in each round."""

    jobs: Sequence[Any] = ()

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[list[Any]]:
        yield from (list(self.jobs[at : at + self.size]) for at in range(0, len(self.jobs), self.size))

    def __len__(self) -> int:
        return len(self.jobs) // self.size


def in_threads(peer: Peer, pool: Executor, jobs: Sequence[Job], size: int) -> Iterator[tuple[torch.Tensor, Any]]:
    done = pool.map(partial(tuple_of, peer), jobs)
    while found := list(islice(done, size)):
        yield torch.stack([clips for clips, _ in found]), 0.0


def in_processes(tuples: Dataset[Any], workers: int, size: int) -> Callable[[Sequence[Any]], Iterator[Any]]:
    """The same by DataLoader's processes, which live on from call to call."""
    sampler = Batches(size)
    processes: DataLoader[Any] = DataLoader(
        tuples,
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )

    def stream(jobs: Sequence[Any]) -> Iterator[Any]:
        sampler.jobs = jobs
        return iter(processes)

    return stream


def peer_case(
    stream: Callable[[Sequence[Job]], Iterator[tuple[torch.Tensor, Any]]],
    windows: Windows,
    failed: Counter[str],
    name: str,
    *,
    threads: bool,
) -> Case:
    """Batches after the warm-up ones, as of the loader. failed: counts the windows for which the peer gave nothing."""

    def case(turn: int) -> Spent:
        count = WARMUP * windows.batch_size + windows.count
        shown = [windows.sampler.window(windows.epoch(turn), position) for position in range(count)]
        batches = stream([job(windows.index, window.position, window.first) for window in shown])
        for _ in range(WARMUP):
            next(batches)
        began, cpu = time.perf_counter(), time.process_time()
        spent = 0.0
        for batch, seconds in batches:
            assert batch.shape[1:] == (3, 3, 16, 112, 112)
            failed[name] += int(batch[:, 0, 0, 0, 0, 0].isnan().sum())
            spent += float(torch.as_tensor(seconds).sum())
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        return Spent(wall / windows.count, (cpu if threads else cpu + spent) / windows.count)

    return case


def wrong(pictures: Callable[[Sequence[int]], Pictures], truth: Pictures, firsts: Sequence[int]) -> str:
    """ "wrong of asked": frames to which another of a sequential decode is nearer than the one asked for; or how often
    it fails.
    """
    asked = missed = failed = 0
    for first in firsts:
        numbers = [first + n for n in (*range(16), *range(24, 40), *range(48, 64))]
        asked += len(numbers)
        try:
            found = pictures(numbers).astype(np.float32)
        except Exception as error:  # whatever a library throws is its answer
            failed += 1
            tqdm.write(f"frames {first}..: {type(error).__name__}: {str(error)[:200]}")
            continue
        low, high = max(0, first - 12), first + 76
        near = truth[low:high].astype(np.float32)
        for number, picture in zip(numbers, found, strict=True):
            distance = np.abs(near - picture).mean(axis=(1, 2, 3))
            missed += bool(distance[number - low] > distance.min() + SLACK)
    if failed == len(firsts):
        return f"{FAILS} for all windows"
    return f"{missed} of {asked - 48 * failed}" + (f", {FAILS} for {failed} of {len(firsts)} windows" if failed else "")


def ours(index: VideoIndex, numbers: Sequence[int]) -> Pictures:
    """The loader's decoded planes, resized as the peers' frames are."""
    frames = decode(index.video(0), np.asarray(numbers))
    height, width = frames.size
    convert, out = VideoReformatter(), []
    for planes in frames.data:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
        assert (frame.height - height, frame.width - width) in ((0, 0), (1, 0), (0, 1), (1, 1))
        out.append(
            convert.reformat(
                frame, WIDTH, HEIGHT, "rgb24", interpolation=Interpolation.BILINEAR, threads=1
            ).to_ndarray()
        )
    return np.stack(out)


def exactness(path: Path, index: VideoIndex, names: Sequence[str]) -> dict[str, str]:
    truth = every(path)
    random = np.random.default_rng(0)
    firsts = random.integers(0, index.frames(0) - 63, CHECKED).tolist()
    found = {"vidssl loader": wrong(partial(ours, index), truth, firsts)}
    return found | {name: wrong(partial(PEERS[name][0], str(path)), truth, firsts) for name in names}


def bench(
    path: Path, scratch: Path, *, workers: int, repeats: int, batches: int, batch_size: int, out: Path | None
) -> None:
    """One clip, one number of workers."""
    index = workloads.repeated(path, (WARMUP + batches) * batch_size, scratch)
    versions, failed = installed(), Counter[str]()
    counted = exactness(path, index, list(versions))
    with ExitStack() as stack:
        loader = stack.enter_context(
            Loader(index, PRETEXT, batch_size=batch_size, device="cpu", workers=workers, seed=0)
        )
        windows = Windows(index, loader.sampler, batch_size, batches, 1)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        cases: dict[str, Case] = {
            "vidssl loader": loader_case(loader, windows),
            "bare PyAV (bound)": bare_case(pool, windows),
        }
        for name in versions:
            if counted[name].startswith((FAILS, f"{48 * CHECKED} ")):  # in all of them
                tqdm.write(f"{path.name}: {name} gives no right frame, or none at all: {counted[name]}; not timed")
                continue
            threads = partial(in_threads, PEERS[name][0], pool, size=batch_size)
            cases[f"{name}, threads"] = peer_case(threads, windows, failed, name, threads=True)
            processes = in_processes(Tuples(name), workers, batch_size)
            cases[f"{name}, processes"] = peer_case(processes, windows, failed, name, threads=False)
        title = f"{path.name}, {workers} worker{'s' if workers > 1 else ''}"
        spent = interleave(cases, repeats=repeats, warmup=1, title=title)
    absent = sorted(set(PEERS) - set(versions))
    facts = {
        "wrong frames": counted,
        "failed windows": dict(+failed),
        "peers": versions,
        "not installed": absent,
        "batch": batch_size,
    }
    report(compare("peers", title, spent, subject="vidssl loader", item="sample", facts=facts), out)


def main(
    *,
    data: tuple[Path, ...] = (),
    made: bool = True,
    out: Path | None = None,
    workers: tuple[int, ...] = (2,),
    repeats: int = 5,
    batches: int = 4,
    batch_size: int = 8,
) -> None:
    """Measure the loader on the CPU against other libraries.

    Args:
        data: Video files of at least 64 frames to measure, each on its own.
        made: Measure also clips that are made here.
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        workers: Numbers of the loader's workers, and of every peer's threads and processes.
        repeats: Rounds; each runs every case once.
        batches: Batches that a case of a round takes, after warm-up ones.
        batch_size: Tuples of a batch.
    """
    if not installed():
        raise VidsslError("no peer is installed; run `make bench-peers`")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        for at, path in enumerate(clips(data, workloads.CLIPS * made, Path(folder))):
            for count in workers:
                scratch = Path(folder) / f"{at}-{count}"
                bench(path, scratch, workers=count, repeats=repeats, batches=batches, batch_size=batch_size, out=out)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
