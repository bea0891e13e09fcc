"""The processes of one start find each other in a store that may still hold what the dead ones of earlier starts wrote.

torchrun counts restarts on each machine by itself: a machine that was replaced counts from 0, and one whose processes
were stopped because another machine joined again does not count at all. So no number that a process is given tells the
starts apart.
"""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from vidssl.types import VidsslError

_WITHIN = timedelta(minutes=30)  # as long as torch's process groups wait by default
_POLL = 0.05  # seconds


def muster(store: Any, rank: int, world_size: int, restarts: int, within: timedelta = _WITHIN) -> tuple[str, int]:
    """Waits until all processes of this start have said hello to each other.

    Each process writes a name that nobody else has. Rank 0 calls the roll: it lists the names that it finds, again and
    again, since some may be those of the dead. A process that finds its name in a roll answers to it. A roll that all
    have answered is that of this start: the name of rank 0 on it is new, and the dead do not answer.

    Args:
        store: A store of torch.distributed that all of them use.
        rank: Number of this process.
        world_size: Number of processes.
        restarts: How often torchrun says that it has restarted this one.
        within: How long to wait.

    Returns:
        A name of this start, the same in all of its processes and in no other start; the most restarts of any of them.

    Raises:
        VidsslError: Not all have come in time.
    """
    mine, deadline = f"{uuid4().hex} {restarts}", time.monotonic() + within.total_seconds()
    names = [f"hello {one}" for one in range(world_size)]
    store.set(names[rank], mine)
    roll, answered = "", ""
    while True:
        if rank == 0 and store.check(names):
            found = b"\n".join(store.multi_get(names)).decode()
            if found != roll:
                store.set("roll", found)
        if store.check(["roll"]):
            roll = store.get("roll").decode()
            start = f"start {hashlib.sha256(roll.encode()).hexdigest()}"
            if roll.split("\n")[rank : rank + 1] == [mine]:
                if roll != answered:
                    store.add(start, 1)
                    answered = roll
                if store.add(start, 0) == world_size:
                    return start, max(int(line.split()[1]) for line in roll.split("\n"))
        if time.monotonic() > deadline:
            raise VidsslError(
                f"train: not all of the {world_size} processes that torchrun started came within "
                f"{within.total_seconds():g} s; look at the output of the others, on every machine"
            )
        time.sleep(_POLL)
