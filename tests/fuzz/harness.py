"""harness: many damaged inputs in one child process. Its death or its hanging is found, named by its seed, and the rest
goes on.

    python -m tests.fuzz.harness tests.fuzz.test_index:index 0 2000

A target is a function of this package that takes a scratch folder and returns a function from a seed to "", or to what
is wrong; any exception of it is wrong too.
"""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

ROOT = Path(__file__).parents[2]
_START_S = 120  # for imports and the making of the undamaged inputs, on a busy machine


def faults(target: str, seeds: range, folder: Path, *, limit_s: float = 20) -> list[str]:
    """What was wrong, a line each: deaths, hangs (a seed that takes longer than `limit_s`), and what the target itself
    says.
    """
    found: list[str] = []
    at = seeds.start
    while at < seeds.stop:
        at = _child(target, range(at, seeds.stop), folder, limit_s, found)
    return found


def _forward(stream: Iterable[str], lines: Queue[str | None]) -> None:
    """Puts the lines of a stream into a queue, and None at its end."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _child(target: str, seeds: range, folder: Path, limit_s: float, found: list[str]) -> int:
    """Runs seeds in one child. Returns the first seed that is still to be run."""
    command = [sys.executable, "-m", "tests.fuzz.harness", target, str(seeds.start), str(seeds.stop), str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    lines: Queue[str | None] = Queue()
    Thread(target=_forward, args=[child.stdout, lines], daemon=True).start()
    now, said = seeds.start - 1, ""
    try:
        while True:
            try:
                line = lines.get(timeout=limit_s if now >= seeds.start else _START_S)
            except Empty:
                found.append(f"{target}, seed {now}: hangs")
                return max(now, seeds.start) + 1
            if line is None:
                break
            word, _, rest = line.partition(" ")
            if word == "@seed":
                now = int(rest)
            elif word == "@fault":
                found.append(f"{target}, seed {now}: {rest.strip()}")
            else:
                said = line.strip() or said
    finally:
        child.kill()
        code = child.wait()
        child.stdout.close()
    if now == seeds.stop:  # said after the last one
        return now
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    found.append(f"{target}, seed {now}: died of {how}: {said}")
    if now < seeds.start:
        return seeds.stop  # it did not even start
    return now + 1


def main(target: str, start: str, stop: str, folder: str) -> None:
    module, _, name = target.partition(":")
    run = getattr(importlib.import_module(module), name)(Path(folder))
    for seed in range(int(start), int(stop)):
        print("@seed", seed, flush=True)
        try:
            wrong = run(seed)
        except Exception:
            wrong = f"a bare exception: {traceback.format_exc()}"
        if wrong:
            print("@fault", " ".join(wrong.split()), flush=True)
    print("@seed", stop, flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        main(*sys.argv[1:])
    else:
        with tempfile.TemporaryDirectory() as scratch:
            print(*faults(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3])), Path(scratch)), sep="\n")
