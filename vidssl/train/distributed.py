"""The process group of a run: this process alone, or all that torchrun started (NCCL on GPUs, gloo on CPUs)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from vidssl.device import pick_device
from vidssl.types import VidsslError

T = TypeVar("T")
_PATIENCE = timedelta(days=7)  # rank 0 may build an index meanwhile; torchrun notices a process that dies


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """The processes that train together, as one of them sees them.

    Args:
        device: Where this process computes.
        rank: Number of this process, 0 to world_size - 1.
        world_size: Number of processes.
        local_world_size: Number of them on this machine.
        restarts: How often torchrun has restarted all of them.
        patient: A gloo group for waits that may take long, such as for an index.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    restarts: int = 0
    patient: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def all_reduce(self, *tensors: torch.Tensor) -> None:
        """Sums each tensor over all processes, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process. Every process has to call it."""
        if self.world_size == 1:
            return flag
        raised = torch.tensor(int(flag))  # on the CPU: it does not wait for the device
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def broadcast(self, value: T) -> T:
        """Returns the value of rank 0 in every process."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.patient)
        return box[0]

    def run_on_first(self, work: Callable[[], T]) -> T:
        """Calls `work` in rank 0 only, and returns its result, or raises its VidsslError, in every process."""
        made: T | VidsslError | None = None
        if self.is_first:
            try:
                made = work()
            except VidsslError as error:
                made = error
        made = self.broadcast(made)
        if isinstance(made, VidsslError):
            raise made
        return cast(T, made)

    def gather(self, value: T) -> list[T]:
        """Returns the values of all processes, by rank, in rank 0, and an empty list in the others."""
        if self.world_size == 1:
            return [value]
        found: list[T] | None = [value] * self.world_size if self.is_first else None
        dist.gather_object(value, found, group=self.patient)
        return found or []

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Rank 0 runs the block, then all others run it: they find on disk what rank 0 has written."""
        if self.world_size > 1 and not self.is_first:
            dist.barrier(self.patient)
        yield
        if self.world_size > 1 and self.is_first:
            dist.barrier(self.patient)


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
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if picked.type == "cuda" else "gloo",
            store=PrefixStore(f"start {restarts}", store),
            rank=rank,
            world_size=world_size,
        )
    try:
        yield ProcessGroup(
            device=pick_device(picked),
            rank=dist.get_rank(),
            world_size=dist.get_world_size(),
            local_world_size=here["local_world_size"],
            restarts=restarts,
            patient=dist.new_group(backend="gloo", timeout=_PATIENCE),
        )
    finally:
        if ours:
            dist.destroy_process_group()
