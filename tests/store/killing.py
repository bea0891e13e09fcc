"""Kills processes that fill a store at random moments, and checks what they leave.

    python -m tests.store.killing --times 20 --seed 0 --out FOLDER [index] [fill] [train]

After each kill the store serves only frames of a decode, damages nothing, has lost nothing that it had before, and the
batches are those of an empty store. The next start goes on. At the end everything is kept, nothing unfinished is left,
and a run that was killed and resumed has the log of a run without a store that was not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.clips import make_clip
from tests.loader.test_loader import PLAIN, same
from tests.train.processes import ROOT, SMALL, lines, steady
from vidssl import FrameStore, Loader, VideoIndex
from vidssl.store.claims import FILE
from vidssl.store.writer import unfinished
from vidssl.train import checkpoint
from vidssl.types import Batch

KINDS = ("index", "fill", "train")
SIZE = (36, 48)
STEPS = 30
# Small shards, so that each process completes several.
_CODE = (
    "import sys, vidssl.store.writer as w; w.SHARD = 2**16; import vidssl.store.fill as f; f._PAUSE = f._BUSY = 0.2;"
    "from vidssl.cli import main; import vidssl.cli.train; print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
)


def make_videos(folder: Path) -> VideoIndex:
    """Eight videos that take a second or two to index."""
    folder.mkdir(parents=True)
    for number in range(8):
        make_clip(folder / f"{number}.mp4", frames=60 + 7 * number, size=(144, 192), gop=24)
    return VideoIndex.build(folder, progress=False)


class Trial:
    """One command that is killed and started again.

    Args:
        kind: Of KINDS.
        index: The videos.
        work: A new folder.
        rng: Decides when the command is killed.
    """

    def __init__(self, kind: str, index: VideoIndex, work: Path, rng: np.random.Generator) -> None:
        self._kind, self._index, self._work, self._rng = kind, index, work, rng
        self._store, self._saved = work / "store", work / "index.arrow"
        work.mkdir(parents=True)
        index.save(self._saved)
        nothing = FrameStore(None, SIZE)
        self._right = [nothing.decode(index.video(row), np.arange(index.frames(row))).data for row in range(len(index))]
        self._batches = self._show(nothing)
        self._seconds = 0.0  # that the command takes
        self.kills, self._kept = 0, 0
        self.seen: list[str] = []  # frames that were kept before the start and after the kill

    def _command(self, *, keeps: bool = True) -> list[str]:
        size = f"{SIZE[0]}x{SIZE[1]}"
        if self._kind == "fill":
            return ["store", "fill", str(self._saved), str(self._store), "--store-size", size, "--workers", "2"]
        store = ["--store", str(self._store)] if keeps else []
        if self._kind == "index":
            out = str(self._work / "made.arrow")
            return ["index", str(self._index.root), "--out", out, "--workers", "2", *store, "--store-size", size]
        run = self._work / ("run" if keeps else "uninterrupted")
        resume = ["--resume"] if run.is_dir() and any(run.iterdir()) else []
        every = ["--steps", str(STEPS), "--save-every", "4", "--log-every", "2"]
        recipe = ["train", "vcop_r3d_tiny", "--data", str(self._saved), "--out", str(run), *SMALL, *every]
        return [*recipe, "--store-size", size, *store, *resume]

    def _start(self, *, keeps: bool = True) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", _CODE, *self._command(keeps=keeps)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    def run(self, *, keeps: bool = True) -> None:
        """Runs the command to its end, and measures it."""
        child, began = self._start(keeps=keeps), time.monotonic()
        out, error = child.communicate(timeout=240)
        assert child.returncode == 0, f"{out}\n{error}"
        self._seconds = time.monotonic() - began

    def again(self) -> None:
        """Begins with an empty store."""
        for path in self._work.iterdir():
            if path.name in ("store", "run"):
                shutil.rmtree(path)
            elif path.name != "uninterrupted" and path != self._saved:
                path.unlink()
        self._kept = 0

    def kill(self) -> str:
        """Starts the command, kills it, and returns what the store has lost or serves wrongly; "" if nothing."""
        child = self._start()
        time.sleep(float(self._rng.random()) * self._seconds)
        ended = child.poll() is not None
        child.send_signal(signal.SIGKILL)
        child.communicate()
        self.kills += not ended
        before, wrong = self._kept, self.check()
        if not ended:
            self.seen.append(f"{before}-{self._kept}")
        if ended or self._kept == sum(map(len, self._right)):
            self.again()
        return wrong

    def check(self) -> str:
        """What the store has lost or serves wrongly; "" if nothing."""
        if not self._store.exists():
            return ""
        store, kept = FrameStore(self._store, SIZE, limit=0), 0
        if found := store.verify():
            return str(found)
        for row, right in enumerate(self._right):
            video = self._index.video(row)
            for at in range(0, video.frames, 16):
                frames = store.read(video, at, min(16, video.frames - at))
                if frames is not None and not np.array_equal(frames.data, right[at : at + 16]):
                    return f"row {row}: frames from {at} are not those of a decode"
                kept += 0 if frames is None else len(frames.data)
        if store.stats["damaged"] or kept < self._kept:
            return f"{store.stats['damaged']} damaged, {kept} frames kept, {self._kept} before"
        self._kept = kept
        return "" if same(self._batches, self._show(store)) else "the batches differ"

    def complete(self) -> str:
        """Lets the command end, and returns what is missing or left over; "" if nothing."""
        self.run()
        if wrong := self.check():
            return wrong
        total = sum(map(len, self._right))
        if (
            self._kind != "train" and self._kept != total
        ):  # training has held-out videos, and may end before the filling
            return f"{self._kept} of {total} frames are kept"
        if left := [*unfinished(self._store), *self._store.glob(FILE)]:
            return f"left over: {left}"
        twice = sum(run.frames for shard in FrameStore.shards(self._store)[0] for run in shard.runs()) - self._kept
        if twice:
            return f"{twice} frames are kept twice"
        return self._compare() if self._kind == "train" else ""

    def _compare(self) -> str:
        whole, parts = self._work / "uninterrupted", self._work / "run"
        if steady(whole) != steady(parts) or lines(parts)[-1]["step"] < STEPS:
            return "the logs differ"
        weights = [checkpoint.load_weights(checkpoint.find(out), "encoder") for out in (whole, parts)]
        equal = all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])
        return "" if equal else "the weights differ"

    def _show(self, store: FrameStore) -> list[Batch]:
        with Loader(self._index, PLAIN, batch_size=2, device="cpu", seed=3, workers=2, store=store) as loader:
            return [Batch(*(part.clone() for part in batch)) for batch in loader]


def trial(kind: str, index: VideoIndex, work: Path, times: int, rng: np.random.Generator) -> list[str]:
    """Kills a command `times` times in the middle of its work. Returns what was wrong."""
    one = Trial(kind, index, work, rng)
    one.run(keeps=kind != "train")
    one.again()
    wrong: list[str] = []
    while one.kills < times and len(wrong) < 5:
        if found := one.kill():
            wrong.append(f"{kind}, kill {one.kills}: {found}")
    if found := one.complete():
        wrong.append(f"{kind}, at the end: {found}")
    print(f"{kind}: frames kept before the start and after the kill: {', '.join(one.seen)}", flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    index, wrong = make_videos(options.out / "videos"), list[str]()
    for kind in options.kinds:
        began = time.monotonic()
        found = trial(kind, index, options.out / kind, options.times, np.random.default_rng(options.seed))
        print(f"{kind}: {options.times} kills, {len(found)} wrong, {time.monotonic() - began:.0f} s", flush=True)
        wrong += found
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
