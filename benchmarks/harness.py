"""How everything here is measured: warm up, run the cases in turn, again and again, compare them round by round, write
one JSON line.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from tqdm import tqdm

from vidssl.cpus import cpus
from vidssl.native import build_info
from vidssl.types import VidsslError
from vidssl.versions import versions

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ("csrc", "vidssl")  # what a figure is about


class Spent(NamedTuple):
    """Seconds for one item: wall time, and processor time of this process (0 where another process does the work)."""

    wall: float
    cpu: float


Case = Callable[[int], Spent]  # gets the number of the round; -1 and below: warm-up


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    found = list(values)
    if len(found) < 2:
        return Spread(median=found[0], low=found[0], high=found[0])
    low, _, high = quantiles(found, n=4, method="inclusive")
    return Spread(median=median(found), low=low, high=high)


class Stopwatch:
    """Measures a with-block; `per(items)` is what one item took."""

    def __enter__(self) -> Stopwatch:
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def per(self, items: int = 1) -> Spent:
        return Spent(self.wall / items, self.cpu / items)


def timed(work: Callable[[], object], *, items: int = 1) -> Case:
    """A case that is a function: all of it counts, and it handles `items` items."""

    def case(_: int) -> Spent:
        with Stopwatch() as watch:
            work()
        return watch.per(items)

    return case


def interleave(cases: Mapping[str, Case], *, repeats: int, warmup: int = 1, title: str = "") -> dict[str, list[Spent]]:
    """Runs all cases once a round, in turn (A, B, A, B ...), so that other load on the machine hits them all alike."""
    if repeats < 1 or warmup < 0:
        raise VidsslError(f"repeats={repeats}, warmup={warmup}: take repeats >= 1 and warmup >= 0")
    spent: dict[str, list[Spent]] = {name: [] for name in cases}
    with tqdm(total=(warmup + repeats) * len(cases), desc=title, unit="run", leave=False, disable=None) as bar:
        for turn in range(-warmup, repeats):
            for name, case in cases.items():
                bar.set_postfix_str(name)
                found = case(turn)
                if turn >= 0:
                    spent[name].append(found)
                bar.update()
    return spent


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of a results file.

    bench, workload: what was measured. subject: the case that is ours. item: what a figure is for ("sample"). wall,
    cpu: milliseconds an item, of each case. speedup, cpu_saving: time of each other case / time of the subject, round
    by round. facts: what else was seen.
    """

    bench: str
    workload: str
    subject: str
    item: str
    rounds: int
    wall: dict[str, Spread]
    cpu: dict[str, Spread]
    speedup: dict[str, Spread]
    cpu_saving: dict[str, Spread]
    facts: dict[str, Any]

    def text(self) -> str:
        lines = [f"{self.bench}: {self.workload} ({self.rounds} rounds; median, quartiles)"]
        for name, wall in self.wall.items():
            line = f"  {name:36s} {wall.median:9.3f} ms/{self.item} [{wall.low:.3f}, {wall.high:.3f}]"
            line += f"  cpu {self.cpu[name].median:8.3f}"
            if name in self.speedup:
                ratio = self.speedup[name]
                line += f"  {self.subject} is {ratio.median:.2f}x as fast [{ratio.low:.2f}, {ratio.high:.2f}]"
                if name in self.cpu_saving:
                    line += f", by processor time {self.cpu_saving[name].median:.2f}x"
            lines.append(line)
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        return "\n".join(lines)


def compare(
    bench: str,
    workload: str,
    spent: Mapping[str, list[Spent]],
    *,
    subject: str,
    item: str,
    facts: Mapping[str, Any] | None = None,
) -> Result:
    """What `interleave` found, every other case against `subject`."""
    ours = spent[subject]
    others = {name: found for name, found in spent.items() if name != subject}
    counted = {name: found for name, found in others.items() if all(s.cpu > 0 for s in (*found, *ours))}
    return Result(
        bench=bench,
        workload=workload,
        subject=subject,
        item=item,
        rounds=len(ours),
        wall={name: spread(1e3 * s.wall for s in found) for name, found in spent.items()},
        cpu={name: spread(1e3 * s.cpu for s in found) for name, found in spent.items()},
        speedup={
            name: spread(b.wall / a.wall for a, b in zip(ours, found, strict=True)) for name, found in others.items()
        },
        cpu_saving={
            name: spread(b.cpu / a.cpu for a, b in zip(ours, found, strict=True)) for name, found in counted.items()
        },
        facts=dict(facts or {}),
    )


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, the body of assemble it runs, and how busy the machine is (load of the
    last minute).
    """
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        model = found[1] if found else model
    cores = cpus()
    return {"cpu": model, "cores": cores, "simd": build_info()["simd"], "load": round(os.getloadavg()[0], 2)}


def circumstances() -> dict[str, Any]:
    """When, where and of what a figure was taken. `changed`: whether what is measured differs from the commit, as far
    as git can say.
    """
    found = versions()
    commit = found.pop("commit", "")
    seen = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *MEASURED]
    changed = (
        bool(commit)
        and (ROOT / ".git").exists()
        and bool(subprocess.run(seen, capture_output=True, text=True, timeout=30, check=True).stdout.strip())
    )
    return {
        "command": command(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "changed": changed,
        "machine": machine(),
        "versions": {**found, "tqdm": version("tqdm")},
    }


def command() -> str:
    """The command line, as it can be typed in the root of the checkout."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", spec.name] if spec is not None else ["python", *sys.argv[:1]]
    body = os.environ.get("VIDSSL_SIMD")
    return " ".join([*([f"VIDSSL_SIMD={body}"] if body else []), shlex.join([*program, *sys.argv[1:]])])


def report(result: Result, out: Path | None) -> None:
    """Prints a result and appends it to `out`: a .jsonl file, or a folder, in which `file_name` names the file."""
    line = {**asdict(result), **circumstances()}
    tqdm.write(result.text())
    append(line, out)


def append(line: Mapping[str, Any], out: Path | None) -> None:
    """Appends a result, with its `circumstances`, to `out` as `report` does; None does nothing."""
    if out is None:
        return
    path = out if out.suffix == ".jsonl" else out / file_name(line["bench"], line)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:  # one write: who ends us here or later finds whole lines
        file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def measured(bench: str, workload: str, out: Path | None) -> bool:
    """Whether `out`, a .jsonl file, has a line of this workload and of this very commit, and says so: for `--resume`.

    Always False where the commit is not known, or where what is measured differs from it.
    """
    if out is None or not out.is_file():
        return False
    now = circumstances()
    if not now["commit"] or now["changed"]:
        return False
    wanted = {"bench": bench, "workload": workload, "commit": now["commit"], "changed": False}
    found = any(wanted.items() <= json.loads(text).items() for text in out.read_text().splitlines())
    if found:
        tqdm.write(f"{bench}: {workload}: {out.name} has it already")
    return found


def commit(line: Mapping[str, Any]) -> str:
    """What was measured, with a star where it differs from the commit."""
    return f"{line['commit'][:7] or '?'}{'*' if line['changed'] else ''}"


def lay(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def file_name(bench: str, about: Mapping[str, Any]) -> str:
    """<bench>_<machine>_<date>_<commit>.jsonl"""
    model = re.sub(r"\((r|tm)\)|processor|@.*", " ", about["machine"]["cpu"].lower())
    name = "-".join([*re.findall(r"[a-z0-9]+", model), f"{about['machine']['cores']}c"])
    return f"{bench}_{name}_{about['date'][:10]}_{about['commit'][:7] or 'nocommit'}.jsonl"
