"""Fuzzes vidssl: many damaged inputs, in child processes that may die. A run that was stopped or killed continues where
it stopped.

    make fuzz ARGS="--count 20000 --seed 0 --out build/fuzz --targets containers tars"

OUT/done.txt has a line for each input: its target, seed and outcome. OUT/findings has a folder for each input whose
outcome is not "ok": the command that reproduces it, what was said, and the input. OUT/summary.md is a table.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.harness import KINDS, ROOT, Outcome, outcomes
from tests.fuzz.targets import TARGETS

_CHUNK = 250  # inputs between two starts of a child


class Book:
    """What was done in a folder. Its first line says of which code: outcomes of other code are not continued."""

    def __init__(self, out: Path) -> None:
        self.out, self.lock = out, threading.Lock()
        out.mkdir(parents=True, exist_ok=True)
        path, code = out / "done.txt", f"code {fingerprint():08x}"
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        if lines and lines[0].strip() != code:
            sys.exit(f"fuzz: --out {out}: it was begun with other code; name another folder, or remove this one")
        self.done: dict[tuple[str, int], str] = {}
        for line in lines[1:]:
            target, seed, kind = line.rstrip("\n").split(" ", 2) if line.count(" ") > 1 else ("", "", "")
            if line.endswith("\n") and kind in KINDS:  # a killed run may have left half a line
                self.done[target, int(seed)] = kind
        with path.open("w") as file:
            file.write(code + "\n" + "".join(f"{name} {seed} {kind}\n" for (name, seed), kind in self.done.items()))
        self.file = path.open("a")

    def note(self, name: str, outcome: Outcome) -> None:
        """Keeps an outcome; and a finding with its input, before the line that says it is done."""
        if outcome.kind != "ok":
            folder = self.out / "findings" / f"{name}-{outcome.seed}"
            folder.mkdir(parents=True, exist_ok=True)
            command = f'make fuzz ARGS="--targets {name} --seed {outcome.seed} --count 1 --out build/again"'
            (folder / "finding.txt").write_text(f"{command}\n{outcome.kind}: {outcome.text}\n")
            if outcome.given is not None and outcome.given.is_dir():
                shutil.copytree(outcome.given, folder / "input", symlinks=True, dirs_exist_ok=True)
        with self.lock:
            self.done[name, outcome.seed] = outcome.kind
            self.file.write(f"{name} {outcome.seed} {outcome.kind}\n")
            self.file.flush()

    def summary(self) -> str:
        """A table: a line for each target."""
        count = Counter((name, kind) for (name, _), kind in self.done.items())
        lines = [f"| target | inputs | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 2) + "|"]
        for name in [*TARGETS, "all"]:
            row = [sum(n for (of, k), n in count.items() if k == kind and name in (of, "all")) for kind in KINDS]
            if sum(row):
                lines.append(f"| {name} | {sum(row)} | {' | '.join(map(str, row))} |")
        return "\n".join(lines) + "\n"


def fingerprint() -> int:
    """A checksum of the code that is fuzzed and of the fuzzer."""
    files = [path for folder in ("vidssl", "tests/fuzz") for path in (ROOT / folder).rglob("*")]
    code = 0
    for path in sorted(path for path in files if path.suffix in (".py", ".so")):
        code = zlib.crc32(path.read_bytes(), code)
    return code


def jobs(book: Book, names: list[str], count: int, seed: int) -> Iterator[tuple[str, range]]:
    """Runs of seeds that are still to be done, by turns of the targets."""
    whole = sum(TARGETS[name].share for name in names)
    waiting: list[list[tuple[str, range]]] = []
    for name in names:
        seeds = range(seed, seed + -(-count * TARGETS[name].share // whole))
        left = [at for at in seeds if (name, at) not in book.done]
        chunks: list[tuple[str, range]] = []
        for at in left:
            if chunks and chunks[-1][1].stop == at and len(chunks[-1][1]) < _CHUNK:
                chunks[-1] = name, range(chunks[-1][1].start, at + 1)
            else:
                chunks.append((name, range(at, at + 1)))
        waiting.append(chunks)
    while any(waiting):
        yield from (chunks.pop(0) for chunks in waiting if chunks)


def fuzz(book: Book, todo: list[tuple[str, range]], workers: int) -> None:
    """Does the jobs, each in a child of its own, `workers` at a time. Ctrl-C stops it within the running inputs."""
    total, start, stop = sum(len(seeds) for _, seeds in todo), time.monotonic(), threading.Event()
    done, said = len(book.done), [start]

    def work(job: tuple[str, range]) -> None:
        name, seeds = job
        target = TARGETS[name]
        with tempfile.TemporaryDirectory(prefix="vidssl-fuzz-") as scratch:
            for outcome in outcomes(target.function, seeds, Path(scratch), limit_s=target.limit_s):
                book.note(name, outcome)
                if outcome.kind != "ok":
                    print(f"{name} {outcome.seed}: {outcome.kind}: {outcome.text[-200:]}", flush=True)
                if time.monotonic() - said[0] > 20:
                    said[0] = time.monotonic()
                    print(f"fuzz: {len(book.done) - done} of {total} in {said[0] - start:.0f} s", flush=True)
                if stop.is_set():
                    return

    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in pool.map(work, todo):
                pass
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000, help="inputs, over all targets (default 20000)")
    parser.add_argument("--seed", type=int, default=0, help="first seed of each target")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="where outcomes and findings go")
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    given = parser.parse_args()
    book = Book(given.out)
    todo = list(jobs(book, given.targets, given.count, given.seed))
    if book.done:
        print(f"fuzz: {given.out} has {len(book.done)} inputs already; {sum(len(s) for _, s in todo)} are left")
    try:
        fuzz(book, todo, given.workers)
    except KeyboardInterrupt:
        print("fuzz: stopped; the same command continues", flush=True)
        return 130
    finally:
        (given.out / "summary.md").write_text(book.summary())
    print(book.summary(), end="")
    found = sum(kind != "ok" for kind in book.done.values())
    print(f"fuzz: {found} findings{f' in {given.out}/findings' if found else ''}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
