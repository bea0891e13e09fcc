"""`vidssl train` as a process, or as several under torchrun, for tests that kill it."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from vidssl.train.distributed import ProcessGroup
from vidssl.train.log import TIMED
from vidssl.types import VidsslError

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
CLIPS = ("--clip-length", "8", "--interval", "2", "--resize", "24", "32", "--crop", "16", "16", "--batch-size", "4")
_REST = ("--lr", "0.01", "--amp", "off", "--holdout", "0.2", "--workers", "1", "--threads", "1", "--seed", "5")
SMALL = (*CLIPS, *_REST, "--device", "cpu")


def start(
    data: Path, out: Path, *options: str, ranks: int = 1, restarts: int = 0, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """Begin to train vcop_r3d_tiny on small pictures. restarts: how often torchrun may start all processes anew.
    before: called in it.
    """
    launch = [*TORCHRUN, str(ranks), "--max-restarts", str(restarts), "-m", "vidssl"] if ranks > 1 else ["-m", "vidssl"]
    command = [
        sys.executable,
        *launch,
        "train",
        "vcop_r3d_tiny",
        "--data",
        str(data),
        "--out",
        str(out),
        *SMALL,
        *options,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=before,
    )


def start_node(
    node: int, port: int, folder: Path, *options: str, nodes: int = 2, ranks: int = 1
) -> subprocess.Popen[str]:
    """Begin to train as one of several machines, whose paths are those of `folder`. node: its number, from 1."""
    launch = ["-m", "torch.distributed.run", "--nnodes", str(nodes), "--nproc-per-node", str(ranks)]
    launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", f"127.0.0.{node}"]
    command = [sys.executable, *launch, "-m", "vidssl", "train", "vcop_r3d_tiny", *SMALL, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def together(work: Callable[[ProcessGroup], Any], folder: Path, *, nodes: Sequence[int]) -> list[Any]:
    """What `work` returns in each process of a group, by rank, or the text of its error.

    folder: where they meet. nodes: how many of them each machine has.
    """
    places = [(size, local) for size in nodes for local in range(size)]
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()

    def be(rank: int, size: int, local: int) -> None:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/meet",
            rank=rank,
            world_size=len(places),
            timeout=timedelta(seconds=60),
        )
        group = ProcessGroup(
            device=torch.device("cpu"),
            rank=rank,
            world_size=len(places),
            local_rank=local,
            local_world_size=size,
            patient=dist.group.WORLD,
        )
        try:
            found = work(group)
        except VidsslError as error:
            found = str(error)
        results.put((rank, found))
        dist.barrier()

    processes = [fork.Process(target=be, args=(rank, *place)) for rank, place in enumerate(places)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in places)
    for process in processes:
        process.join()
    return [found[rank] for rank in range(len(places))]


def finish(process: subprocess.Popen[str], *, code: int | None = 0, seconds: float = 240) -> tuple[str, str]:
    """(stdout, stderr) of a process that ends with `code`; None: with another one than 0."""
    out, error = process.communicate(timeout=seconds)
    assert process.returncode == code if code is not None else process.returncode != 0, (
        f"exit {process.returncode}\n{out}\n{error}"
    )
    return out, error


def run(data: Path, out: Path, *options: str, ranks: int = 1) -> str:
    """Train to the end. Returns what it said."""
    return finish(start(data, out, *options, ranks=ranks))[0]


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Until the log has a line of that step, or a later one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if any(line["step"] >= step for line in lines(out)):
                return
        except (OSError, ValueError):
            pass
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"no step {step} within {seconds} s")


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def steady(out: Path) -> list[dict[str, Any]]:
    """The log without what the machine's speed decides."""
    return [{name: value for name, value in line.items() if name not in (*TIMED, "seconds")} for line in lines(out)]


def family(pid: int) -> list[int]:
    """A process and all that it started, the youngest first. Source: proc(5), children."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*"):
            todo += [int(child) for child in (task / "children").read_text().split()]
    return found[::-1]
