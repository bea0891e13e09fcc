"""One process, or one group of processes, at a time writes to a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from vidssl.lock import LOCK, hold
from vidssl.train.distributed import ProcessGroup
from vidssl.train.recorded import TRAIN, CommandText


@contextmanager
def hold_run(
    out: Path, *, resume: bool, process_group: ProcessGroup | None = None, command: CommandText = TRAIN
) -> Iterator[None]:
    """Refuses other processes that want to write to a run's folder, during the block. A caller may hold it twice.

    Args:
        out: The folder. It is made, except for a run to resume, whose absence `open_run` reports.
        resume: Continue the run in it.
        process_group: The processes that train, of which rank 0 holds the folder; None is this one alone.
        command: How errors speak of it.

    Raises:
        VidsslError: Another process writes to the folder, or the folder cannot be written. Every process gets it.
    """
    process_group = process_group or ProcessGroup(device=torch.device("cpu"))
    with ExitStack() as stack:

        def lock() -> None:
            if out.is_dir() or not resume:
                stack.enter_context(hold(out / LOCK, f"{command.name}: {command.folder}{str(out)!r}"))

        process_group.run_on_first(lock)
        yield
