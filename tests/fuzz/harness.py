"""harness: many damaged inputs in one child process. Its death or its hanging is found, named by its seed, and the rest
goes on.

    python -m tests.fuzz.harness tests.fuzz.test_index:index 0 2000

A target is a function of this package that takes a scratch folder and returns a function from a seed to "", or to what
is wrong; any exception of it is wrong too. It leaves what it gave to vidssl in the folder `input` until the next seed.
tests/fuzz/targets.py lists the targets of `make fuzz`.
"""

from __future__ import annotations

import importlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
KINDS = ("ok", "death", "hang", "bare exception", "wrong")
_WORDS = {"@ok": "ok", "@wrong": "wrong", "@bare": "bare exception"}  # what a child says of an input
_START_S = 120  # for imports and the making of the undamaged inputs, on a busy machine
_MEMORY = 12 * 2**30  # bytes of address space; input that asks for more ends in a MemoryError, and not the machine


class Outcome(NamedTuple):
    """What came of one input.

    Attributes:
        seed: The input's seed.
        kind: One of KINDS.
        text: What there is to say about it.
        given: The folder of the input, if it is not "ok". It is there until the next outcome is asked for.
    """

    seed: int
    kind: str
    text: str
    given: Path | None = None


def faults(target: str, seeds: range, folder: Path, *, limit_s: float = 20) -> list[str]:
    """What was wrong, a line each: deaths, hangs (a seed that takes longer than `limit_s`), and what the target itself
    says.
    """
    found = outcomes(target, seeds, folder, limit_s=limit_s)
    return [f"{target}, seed {one.seed}: {one.text}" for one in found if one.kind != "ok"]


def outcomes(target: str, seeds: range, folder: Path, *, limit_s: float) -> Iterator[Outcome]:
    """The outcome of each seed. When a child dies or hangs, another one goes on with the next seed."""
    at = seeds.start
    while at < seeds.stop:
        for outcome in _child(target, range(at, seeds.stop), folder, limit_s):
            at = outcome.seed + 1
            yield outcome


def empty(folder: Path) -> None:
    """Removes what a folder holds; it may not exist yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _forward(stream: Iterable[str], lines: Queue[str | None]) -> None:
    """Puts the lines of a stream into a queue, and None at its end."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _child(target: str, seeds: range, folder: Path, limit_s: float) -> Iterator[Outcome]:
    """Runs seeds in one child, until the last one or the first that ends the child.

    Raises:
        RuntimeError: The child did not even start with the first seed.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "tests.fuzz.harness", target, str(seeds.start), str(seeds.stop), scratch]
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert child.stdout is not None
        lines: Queue[str | None] = Queue()
        Thread(target=_forward, args=[child.stdout, lines], daemon=True).start()
        now, said, hangs = seeds.start - 1, "", False
        try:
            while not hangs:
                try:
                    line = lines.get(timeout=limit_s if now >= seeds.start else _START_S)
                except Empty:
                    hangs = True
                    continue
                if line is None:
                    break
                word, _, rest = line.partition(" ")
                if word == "@seed":
                    now = int(rest)
                elif word in _WORDS:
                    yield Outcome(now, _WORDS[word], rest.strip(), _kept(Path(scratch), now))
                else:
                    said = line.strip() or said
        finally:
            child.kill()
            code = child.wait()
            child.stdout.close()
        how = "did not answer" if hangs else signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if now < seeds.start:
            raise RuntimeError(f"{target} did not start: {how}: {said}")
        if now < seeds.stop:  # it names the stop after the last one
            kind, text = ("hang", "hangs") if hangs else ("death", f"died of {how}: {said}")
            yield Outcome(now, kind, text, Path(scratch, "input"))


def _kept(scratch: Path, seed: int) -> Path:
    """Where a child keeps the input of a seed that is not ok, while it goes on."""
    return scratch / f"input-{seed}"


def main(target: str, start: str, stop: str, folder: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, name = target.partition(":")
    run = getattr(importlib.import_module(module), name)(Path(folder))
    for seed in range(int(start), int(stop)):
        print("@seed", seed, flush=True)
        try:
            wrong = run(seed)
            word = "@wrong" if wrong else "@ok"
        except Exception:
            word, wrong = "@bare", f"a bare exception: {traceback.format_exc()}"
        if word != "@ok" and Path(folder, "input").is_dir():
            shutil.copytree(Path(folder, "input"), _kept(Path(folder), seed), symlinks=True)
        print(word, " ".join(wrong.split()), flush=True)
    print("@seed", stop, flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        main(*sys.argv[1:])
    else:
        with tempfile.TemporaryDirectory() as scratch:
            print(*faults(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3])), Path(scratch)), sep="\n")
