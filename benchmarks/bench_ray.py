"""`--engine ray` on two nodes of one core each against one local thread: the bytes, the time, and a node that dies.

    python -m benchmarks.bench_ray --data VIDEOS --files 2000 --out FILE.jsonl

The files are copies of the clips in VIDEOS, by hard links where possible, under different names; every hundredth is
damaged. Both nodes, the writer and the local run share one machine, so the ratio of times says what Ray costs, and not
what more machines gain. One line of JSON is written for each step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Timer

from tests.pools.nodes import Nodes
from vidssl import FrameStore, VideoIndex
from vidssl.pools.base import Engine
from vidssl.prepare import Encoding, prepare
from vidssl.recipes import RECIPES

_SIZE = (64, 85)  # of the store


def make_files(data: Path, out: Path, count: int) -> None:
    """Fills a folder with small clips under different names; every hundredth is damaged."""
    kinds = [path for path in data.rglob("*") if path.suffix in (".mp4", ".avi", ".mkv", ".webm", ".mov", ".ogv")]
    clips = sorted(kinds, key=lambda path: path.stat().st_size)[: max(1, len(kinds) // 4)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--prepared", type=int, default=2000, help="files that are re-encoded, which takes longest")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines: list[dict[str, object]] = []

    def timed(step: str, engine: Engine, work: Callable[[], object], files: int = options.files) -> None:
        began = time.perf_counter()
        work()
        lines.append({"step": step, "engine": engine, "files": files, "seconds": round(time.perf_counter() - began, 2)})
        print(json.dumps(lines[-1]), flush=True)

    def same(step: str, left: list[bytes], right: list[bytes]) -> None:
        lines.append({"step": step, "outputs": len(left), "same_bytes": left == right})
        print(json.dumps(lines[-1]), flush=True)

    with tempfile.TemporaryDirectory() as name, Nodes() as nodes:
        root = Path(name)
        os.environ["RAY_ADDRESS"] = nodes.address
        make_files(options.data, root / "videos", options.files)
        task = RECIPES["vcop_r3d"]().pretext
        workers: dict[Engine, int | None] = {"local": 1, "ray": None}

        def index(engine: Engine, name: str) -> None:
            VideoIndex.build(root / "videos", engine=engine, workers=workers[engine]).save(root / f"{name}.arrow")

        for engine in workers:
            timed("index", engine, partial(index, engine, engine))
        same("index", *([(root / f"{engine}.arrow").read_bytes()] for engine in workers))
        killer = Timer(float(str(lines[1]["seconds"])) / 3, nodes.kill_second)
        killer.start()
        timed("index, a node is killed after a third", "ray", partial(index, "ray", "killed"))
        killer.join()
        nodes.add_second()
        same("index, a node killed", *([(root / f"{name}.arrow").read_bytes()] for name in ("local", "killed")))
        found = VideoIndex.load(root / "local.arrow")
        for engine in workers:
            store = FrameStore(root / f"store_{engine}", _SIZE)
            timed("store fill", engine, partial(store.fill, found, engine=engine, workers=workers[engine]))
        same("store fill", *(sorted(p.read_bytes() for p in FrameStore.paths(root / f"store_{e}")) for e in workers))
        part = found.select(found.usable()[: options.prepared])
        for engine in workers:
            making = partial(prepare, part, root / f"new_{engine}", Encoding(), task)
            timed("prepare", engine, partial(making, engine=engine, workers=workers[engine]), len(part))
        same("prepare", *([p.read_bytes() for p in sorted((root / f"new_{e}").rglob("*.mp4"))] for e in workers))
    if options.out is not None:
        options.out.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
