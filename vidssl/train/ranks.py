"""Who trains: this process alone, or with the others that torchrun started (torch.distributed: NCCL on GPUs, gloo on CPUs)."""

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
_LONG = timedelta(days=7)  # the others wait while the first one indexes; a process that dies is torchrun's to notice


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among all. rank of size; local: the same on this machine; restarts: how often torchrun has started all of them anew."""

    device: torch.device
    rank: int = 0
    size: int = 1
    local_size: int = 1
    restarts: int = 0
    patient: Any = None  # a group of processes that may wait for long

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, *tensors: torch.Tensor) -> None:
        """Adds up each tensor over all processes, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def any(self, flag: bool) -> bool:
        """Whether it is so for any process: all of them have to ask."""
        if self.size == 1:
            return flag
        raised = torch.tensor(int(flag))  # on the CPU: it does not wait for the device
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

    def tell(self, value: T) -> T:
        """The first process's value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=self.patient)
        return box[0]

    def together(self, make: Callable[[], T]) -> T:
        """What the first process makes; where that raises VidsslError, it is raised in all."""
        made: T | VidsslError | None = None
        if self.first:
            try:
                made = make()
            except VidsslError as error:
                made = error
        made = self.tell(made)
        if isinstance(made, VidsslError):
            raise made
        return cast(T, made)

    def gather(self, value: T) -> list[T]:
        """Every process's value, for the first one; an empty list for the others."""
        if self.size == 1:
            return [value]
        found: list[T] | None = [value] * self.size if self.first else None
        dist.gather_object(value, found, group=self.patient)
        return found or []

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes through the block, then the others do: what it left on disk they find there."""
        if self.size > 1 and not self.first:
            dist.barrier(self.patient)
        yield
        if self.size > 1 and self.first:
            dist.barrier(self.patient)


@contextmanager
def ranks(device: str | torch.device = "auto") -> Iterator[Ranks]:
    """This process's place among those of torchrun, on its own GPU where there are some. Without torchrun it is alone."""
    if not dist.is_torchelastic_launched() and not dist.is_initialized():
        yield Ranks(device=pick_device(device))
        return
    here = {name: int(os.environ.get(name.upper(), default)) for name, default in (("local_rank", 0), ("local_world_size", 1))}
    picked = torch.device(device) if device != "auto" else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if picked.type == "cuda":
        if picked.index is not None:
            raise VidsslError(f"device={device!r}: each process of torchrun takes its own GPU; take cuda or auto")
        if here["local_rank"] >= torch.cuda.device_count():
            raise VidsslError(
                f"device={device!r}: torchrun started {here['local_world_size']} processes here, where torch sees "
                f"{torch.cuda.device_count()} GPU(s); take --nproc-per-node so many, or device=cpu"
            )
        torch.cuda.set_device(here["local_rank"])
        picked = torch.device("cuda", here["local_rank"])
    mine, restarts = not dist.is_initialized(), int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    if mine:  # else a caller's own: left as it is
        store, rank, size = next(rendezvous("env://"))
        # torchrun may keep its store over a restart, with the addresses of processes that are gone: each start looks up its own.
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if picked.type == "cuda" else "gloo",
            store=PrefixStore(f"start {restarts}", store), rank=rank, world_size=size,
        )  # fmt: skip
    try:
        yield Ranks(
            device=pick_device(picked), rank=dist.get_rank(), size=dist.get_world_size(), local_size=here["local_world_size"],
            restarts=restarts, patient=dist.new_group(backend="gloo", timeout=_LONG),
        )  # fmt: skip
    finally:
        if mine:
            dist.destroy_process_group()
