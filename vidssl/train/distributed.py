"""The process group of a run: this process alone, or all that torchrun started (NCCL on GPUs, gloo on CPUs)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from vidssl.device import pick_device
from vidssl.train.muster import muster
from vidssl.types import VidsslError

T = TypeVar("T")
_PATIENCE = timedelta(days=7)  # rank 0 may build an index meanwhile; torchrun notices a process that dies
_LOST = re.compile(
    r"gloo.*(connect|connection|read error|write error|timed out)|NCCL.*(remote|timeout|closed)", re.I | re.S
)
_NAMED = 3  # differences that an error names


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """The processes that train together, as one of them sees them.

    Args:
        device: Where this process computes.
        rank: Number of this process, 0 to world_size - 1.
        world_size: Number of processes.
        local_rank: Number of this process among those of this machine.
        local_world_size: Number of them on this machine.
        restarts: How often torchrun has restarted them: the most that any machine counts.
        patient: A gloo group for waits that may take long, such as for an index.
        prompt: A gloo group for waits while it trains, of at most 30 minutes.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    restarts: int = 0
    patient: Any = None
    prompt: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def own_file(self, path: Path) -> Path:
        """Returns the file that this process appends to: `path` in rank 0, and `NAME_rankN` beside it in rank N.

        Machines that append to one file of a network file system at once overwrite each other's lines.
        """
        return path if self.is_first else path.with_stem(f"{path.stem}_rank{self.rank}")

    def all_reduce(self, *tensors: torch.Tensor) -> None:
        """Sums each tensor over all processes, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def largest(self, number: int) -> int:
        """The largest of the numbers of all processes. Every process has to call it."""
        if self.world_size == 1:
            return number
        found = torch.tensor(int(number))  # on the CPU: it does not wait for the device
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def broadcast(self, value: T, *, patient: bool = True) -> T:
        """Returns the value of rank 0 in every process. patient: It may come after long."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.patient if patient else self.prompt)
        return box[0]

    def run_on_first(self, work: Callable[[], T], *, patient: bool = True) -> T:
        """Calls `work` in rank 0 only, and returns its result, or raises its VidsslError, in every process.

        patient: It may take long.
        """
        made: T | VidsslError | None = None
        if self.is_first:
            try:
                made = work()
            except VidsslError as error:
                made = error
        made = self.broadcast(made, patient=patient)
        if isinstance(made, VidsslError):
            raise made
        return cast(T, made)

    def gather(self, value: T) -> list[T]:
        """Returns the values of all processes, by rank, in rank 0, and an empty list in the others."""
        if self.world_size == 1:
            return [value]
        found: list[T] | None = [value] * self.world_size if self.is_first else None
        dist.gather_object(value, found, group=self.prompt)
        return found or []

    def run_in_turns(self, work: Callable[[], T]) -> T:
        """Calls `work` in rank 0, then in the first process of each other machine, then in all others.

        So each finds on its disks what one before it wrote there, whether the machines share these disks or not.

        Returns:
            Its result here.

        Raises:
            VidsslError: It was raised somewhere. Every process gets it, and those whose turn comes later do not begin.
        """
        if self.world_size == 1:
            return work()
        mine = 0 if self.is_first else 1 if self.local_rank == 0 else 2
        for turn in range(3):
            failed: VidsslError | None = None
            if turn == mine:
                try:
                    made = work()
                except VidsslError as error:
                    failed = error
            self._raise_any(failed)
        return made

    def need_same(self, what: Mapping[str, Any], hint: str) -> None:
        """Raises VidsslError in every process if values here differ from those of rank 0.

        Args:
            what: The values, by the name that the error gives them.
            hint: How the error ends: what to do.
        """
        first, failed = self.broadcast(dict(what)), None
        differ = [name for name in {**first, **what} if first.get(name) != what.get(name)]
        if differ:
            named = "; ".join(f"{name}: {first.get(name)!r}, but here {what.get(name)!r}" for name in differ[:_NAMED])
            more = f"; and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
            failed = VidsslError(f"train: the processes were not started alike. Rank 0 has {named}{more}; {hint}")
        self._raise_any(failed)

    def _raise_any(self, mine: VidsslError | None) -> None:
        """Raises in every process the error of the first one that has one, which it names."""
        if self.world_size == 1:
            if mine is not None:
                raise mine
            return
        where = "" if self.is_first else f" (rank {self.rank}, on {socket.gethostname()})"
        texts: list[str | None] = [None] * self.world_size
        dist.all_gather_object(texts, None if mine is None else f"{mine}{where}", group=self.patient)
        for text in texts:
            if text is not None:
                raise VidsslError(text) from mine


@contextmanager
def process_group(device: str | torch.device = "auto") -> Iterator[ProcessGroup]:
    """Joins the processes that torchrun started, each on a GPU of its own where there are GPUs.

    Args:
        device: "auto", "cpu" or "cuda"; without torchrun also "cuda:N".

    Yields:
        The group. Without torchrun it has this process alone.

    Raises:
        VidsslError: The device does not exist, or there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched() and not dist.is_initialized():
        yield ProcessGroup(device=pick_device(device))
        return
    here = {
        name: int(os.environ.get(name.upper(), default))
        for name, default in (("local_rank", 0), ("local_world_size", 1))
    }
    picked = torch.device(device) if device != "auto" else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if picked.type == "cuda":
        if picked.index is not None:
            raise VidsslError(f"device={device!r}: torchrun gives each process a GPU of its own; take cuda or auto")
        if here["local_rank"] >= torch.cuda.device_count():
            raise VidsslError(
                f"device={device!r}: torchrun started {here['local_world_size']} processes here, where torch sees "
                f"{torch.cuda.device_count()} GPU(s); take --nproc-per-node {torch.cuda.device_count()}, or device=cpu"
            )
        torch.cuda.set_device(here["local_rank"])
        picked = torch.device("cuda", here["local_rank"])
    ours, restarts = not dist.is_initialized(), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if ours:  # a group that the caller has made is used, and left as it is
        store, rank, world_size = next(rendezvous("env://"))
        # torchrun may keep its store, with addresses of dead processes, over a restart: each start has its own prefix.
        start, restarts = muster(store, rank, world_size, restarts)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if picked.type == "cuda" else "gloo",
            store=PrefixStore(start, store),
            rank=rank,
            world_size=world_size,
        )
    try:
        yield ProcessGroup(
            device=pick_device(picked),
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            local_rank=here["local_rank"] if "LOCAL_RANK" in os.environ else dist.get_rank(),
            local_world_size=here["local_world_size"],
            restarts=restarts,
            patient=dist.new_group(backend="gloo", timeout=_PATIENCE),
            prompt=dist.new_group(backend="gloo"),
        )
    except RuntimeError as error:  # as gloo and NCCL report it
        if not _LOST.search(str(error)):
            raise
        raise VidsslError(
            "train: the connection to another process is lost: it has ended, or its machine does not answer; look at "
            "the output of the others, on every machine. --resume continues from the latest checkpoint"
        ) from error
    finally:
        if ours:
            dist.destroy_process_group()
