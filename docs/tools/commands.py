"""Executes the commands of all pages, two or more pages at a time, before Sphinx reads them.

A page's commands run in order, all pages in one folder (WORK), which has the demo in `demo/` and the repository's
`examples/`. Pages that show the demo's run wait until it is trained; the others begin when its videos are indexed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import torch

from docs.tools.pages import ROOT

WORK = ROOT / "build/docs/commands"
PRINTED = ROOT / "build/docs/printed"  # what the commands of each page printed: {command: text}, a file a page
TIMES = ROOT / "build/docs/times.txt"  # of each command: seconds of the clock, and of processors
DEMO = "vidssl demo --out demo"
TRAINED = re.compile(
    r"\bdemo/(run|order)|^vidssl demo", re.MULTILINE
)  # what a page names that waits for the demo's run
LIMIT = 300  # seconds of one command
BLOCK = re.compile(r"^```\{run\}\n((?::[^\n]*\n)*)(.*?)\n```$", re.DOTALL | re.MULTILINE)
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


class Block(NamedTuple):
    """A `run` of a page: its language ("bash" or "python"), or the file that it is written to, and its text."""

    language: str
    file: str | None
    text: str


class Took(NamedTuple):
    """A command, and its seconds of the clock and of processors."""

    clock: float
    processors: float
    page: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks `run` of a page's text, in order."""
    found = []
    for head, text in BLOCK.findall(page):
        options = dict(re.findall(r"^:(\w+): *(.*)$", head, flags=re.MULTILINE))
        found.append(Block(options.get("language", "bash"), options.get("file"), text.strip("\n")))
    return found


def environment() -> dict[str, str]:
    """Of the commands: the programs of this environment first, no GPU, no colours."""
    path = f"{sys.prefix}/bin{os.pathsep}{os.environ.get('PATH', '')}"
    ours = {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1"}  # pages are executed in several processes


def execute(command: str) -> str:
    """Run a command of bash in the folder of all commands.

    Returns:
        What it printed.

    Raises:
        RuntimeError: It failed; with what it printed.
        subprocess.TimeoutExpired: It took longer than LIMIT.
    """
    shell = ["bash", "-eo", "pipefail", "-c", command]
    done = subprocess.run(
        shell,
        cwd=WORK,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=None if command == DEMO else LIMIT,
        check=False,
    )
    told = done.stdout.decode(errors="replace")  # as text, each state of a progress bar would become a line
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{told}")
    return told


def execute_python(code: str, page: str, names: dict[str, Any]) -> str:
    """Run Python code with `names`, which it may change. Returns what it printed; raises what it raises."""
    printed = StringIO()
    with chdir(WORK), redirect_stdout(printed), redirect_stderr(StringIO()):
        exec(compile(code, f"{page}.md", "exec"), names)
    return printed.getvalue()


def spent() -> tuple[float, float]:
    """Seconds of the clock, and of processors, in this process and in those that it waited for."""
    return time.perf_counter(), sum(sum(resource.getrusage(who)[:2]) for who in WHO)


def since(began: tuple[float, float], page: str, text: str) -> Took:
    """What a command of a page took since `began`, which `spent` returned."""
    clock, processors = (after - before for before, after in zip(began, spent(), strict=True))
    return Took(clock, processors, page, text)


def run_page(page: str, text: str) -> list[Took]:
    """Execute the blocks of a page in order, and keep what they print in PRINTED.

    Returns:
        What each block took.

    Raises:
        RuntimeError: One failed; with the page, its text and what it told.
    """
    names: dict[str, Any] = {"__name__": "__main__"}  # the Python blocks of a page share their names
    printed: dict[str, str] = {}
    took = []
    for block in blocks(text):
        began = spent()
        try:
            if block.file:
                (WORK / block.file).write_text(block.text + "\n")
            elif block.language == "python":
                printed[block.text] = execute_python(block.text, page, names)
            elif block.text == DEMO:
                printed[DEMO] = (WORK / "demo.log").read_text()
            else:
                printed[block.text] = execute(block.text)
        except (Exception, SystemExit) as error:
            told = traceback.format_exc() if block.language == "python" else str(error)
            raise RuntimeError(f"{page}: this failed:\n{block.text}\n{told}") from None
        took.append(since(began, page, block.text.splitlines()[-1]))
    kept = PRINTED / f"{page}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(printed))
    return took


def make_demo() -> list[Took]:
    """Make the demo, and keep what it printed."""
    began = spent()
    (WORK / "demo.log").write_text(execute(DEMO), newline="")
    return [since(began, "", DEMO)]


def prepare(pages: Collection[str] | None) -> bool:
    """Make the folder of the commands anew, but for the demo; of some pages alone, leave it as it is.

    Returns:
        Whether the demo is there.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    if pages is None:
        shutil.rmtree(PRINTED, ignore_errors=True)
        for path in WORK.iterdir():
            if path.name not in ("demo", "demo.log"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (WORK / "examples").symlink_to(ROOT / "examples")
    return (WORK / "demo.log").is_file()


def run_all(texts: dict[str, str], *, pages: Collection[str] | None = None, processes: int = 2) -> None:
    """Execute the commands of all pages, and write TIMES.

    Args:
        texts: Each page (its place in the site, without ending) and its text.
        pages: Execute these alone, and keep what the commands of the others printed the last time; None: all.
        processes: How many pages at a time.

    Raises:
        RuntimeError: A command failed; the others are executed all the same.
    """
    trained = prepare(pages)
    chosen = {page: text for page, text in texts.items() if blocks(text) and (pages is None or page in pages)}
    # Pages with many commands first, so that no process waits for the last one.
    queue = sorted(chosen, key=lambda page: -len(blocks(chosen[page])))
    took: list[Took] = []
    failed: list[str] = []
    fork = multiprocessing.get_context("fork")  # torch is imported once
    with ProcessPoolExecutor(processes, fork, torch.set_num_threads, (1,)) as pool:
        demo = None if trained else pool.submit(make_demo)
        running: set[Future[list[Took]]] = {demo} if demo else set()
        while queue or running:
            ready = trained or (WORK / "demo/index.arrow").is_file()
            for page in [page for page in queue if ready and (trained or not TRAINED.search(chosen[page]))]:
                queue.remove(page)
                running.add(pool.submit(run_page, page, chosen[page]))
            done, running = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                took += [] if error else future.result()
                failed += [str(error)] if error else []
                if future is demo:
                    trained = not error
                    queue = [] if error else queue
    TIMES.write_text("".join(_lines(took)))
    if failed:
        raise RuntimeError("\n".join(failed))


def _lines(took: list[Took]) -> Iterator[str]:
    for one in sorted(took, key=lambda one: -one.processors):
        yield f"{one.clock:7.1f} s {one.processors:7.1f} s  {one.page}: {one.text[:90]}\n"


def printed(page: str) -> dict[str, str]:
    """What the commands of a page printed, by command."""
    kept = PRINTED / f"{page}.json"
    found: dict[str, str] = json.loads(kept.read_text()) if kept.is_file() else {}
    return found
