"""`--engine ray` on two nodes of one core each against one local thread: the bytes, the time, and a node that dies.

    python -m benchmarks.bench_ray --data VIDEOS --files 2000 --out benchmarks/results

The files are copies of the clips in VIDEOS, by hard links where possible, under different names; every hundredth is
damaged. Both nodes, the writer and the local run share one machine, so the ratio of times says what Ray costs, and not
what more machines gain. When a node is killed, a third of the time that the index took before is over.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Timer

import tyro

from benchmarks.harness import append, circumstances
from tests.pools.nodes import Nodes
from vidssl import FrameStore, VideoIndex
from vidssl.pools.base import Engine
from vidssl.prepare import Encoding, prepare
from vidssl.recipes import RECIPES

_SIZE = (64, 85)  # of the store
ENGINES: tuple[Engine, ...] = ("local", "ray")


def make_files(data: Path, out: Path, count: int) -> None:
    """Fills a folder with small clips of each kind under different names; every hundredth is damaged."""
    clips: list[Path] = []
    for kind in (".avi", ".mkv", ".mov", ".mp4", ".ogv", ".webm"):
        paths = sorted(data.rglob(f"*{kind}"), key=lambda path: (path.stat().st_size, path))
        clips += paths[: max(3, len(paths) // 4)]
    for number in range(count):
        clip = clips[number % len(clips)]
        target = out / f"{number // 100:03d}" / f"{number:06d}{clip.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % 100 == 99:
            target.write_bytes(clip.read_bytes()[:3000])
            continue
        try:
            os.link(clip, target)
        except OSError:  # another disk
            shutil.copy2(clip, target)


@dataclass(frozen=True)
class Step:
    """What both engines did: seconds on the wall, and the bytes that they wrote."""

    seconds: dict[Engine, float]
    outputs: dict[Engine, list[bytes]]


def measure(work: Callable[[Engine], list[Path]], engines: Sequence[Engine] = ENGINES) -> Step:
    """Lets each engine work; `work` returns its files, which are read after the time is taken."""
    seconds, outputs = {}, {}
    for engine in engines:
        began = time.perf_counter()
        read = work(engine)
        seconds[engine] = time.perf_counter() - began
        outputs[engine] = sorted(path.read_bytes() for path in read)
    return Step(seconds, outputs)


def main(*, data: Path, files: int = 2000, prepared: int = 2000, out: Path | None = None) -> None:
    """Index, fill a store and prepare with one local thread and with two Ray nodes.

    Args:
        data: Folder of videos; of each kind, the smallest quarter is taken.
        files: How many files to make of them.
        prepared: How many of the usable ones to re-encode, which takes longest.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    workers: dict[Engine, int | None] = {"local": 1, "ray": None}
    with tempfile.TemporaryDirectory() as name, Nodes() as nodes:
        root = Path(name)
        os.environ["RAY_ADDRESS"] = nodes.address
        make_files(data, root / "videos", files)

        def index(name: str, engine: Engine) -> list[Path]:
            VideoIndex.build(root / "videos", engine=engine, workers=workers[engine]).save(root / f"{name}.arrow")
            return [root / f"{name}.arrow"]

        def fill(name: str, engine: Engine) -> list[Path]:
            FrameStore(root / f"store_{name}", _SIZE).fill(found, engine=engine, workers=workers[engine])
            return list(FrameStore.paths(root / f"store_{name}"))

        def make(name: str, engine: Engine) -> list[Path]:
            folder = root / f"new_{name}"
            prepare(part, folder, Encoding(), task, engine=engine, workers=workers[engine])
            return sorted(folder.rglob("*.mp4"))

        def show(workload: str, count: int, step: Step, local: Step) -> None:
            seconds = {"local": local.seconds["local"], "ray": step.seconds["ray"]}
            same = step.outputs["ray"] == local.outputs["local"]
            about = {"bench": "ray", "workload": workload, **circumstances(), "files": count}
            append({**about, "seconds": seconds, "outputs": len(step.outputs["ray"]), "same bytes": same}, out)
            print(f"{workload}: {count:,} files, {seconds}, the same bytes: {same}", flush=True)

        def show_all(workload: str, count: int, work: Callable[[str, Engine], list[Path]]) -> None:
            """Both engines, and then Ray with a node that is killed."""
            step = measure(lambda engine: work(engine, engine))
            show(workload, count, step, step)
            killer = Timer(step.seconds["ray"] / 3, nodes.kill_second)
            killer.start()
            show(f"{workload}, a node is killed", count, measure(partial(work, "killed"), ["ray"]), step)
            killer.join()
            nodes.add_second()

        show_all("index", files, index)
        found = VideoIndex.load(root / "local.arrow")
        show_all("store fill", files, fill)
        part, task = found.select(found.usable()[:prepared]), RECIPES["vcop_r3d"]().pretext
        show_all("prepare", len(part), make)


if __name__ == "__main__":
    tyro.cli(main)
