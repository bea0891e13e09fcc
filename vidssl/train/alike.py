"""Whether the processes of a run were started alike, on machines that may have disks and commands of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidssl.index.table import VideoIndex
from vidssl.train.config import flat
from vidssl.train.data_sets import describe, describe_sets
from vidssl.train.distributed import ProcessGroup
from vidssl.versions import versions

# Settings that may differ between machines: they change no bit, and no process waits for another by them.
_OF_A_MACHINE = ("train.workers", "train.threads", "train.timeout", "train.file_timeout", "train.log", "init")


def need_alike(settings: Mapping[str, Any], index: VideoIndex, process_group: ProcessGroup) -> None:
    """Compares each process with rank 0: versions, settings and videos. Each draws its part of every batch by itself.

    Args:
        settings: The recipe, and what it is trained with.
        index: All videos.
        process_group: The processes.

    Raises:
        VidsslError: They differ. Every process gets it.
    """
    if process_group.world_size == 1:
        return
    found = {name: versions().get(name) for name in ("vidssl", "torch")}
    process_group.need_same(found, "install the same versions on every machine")
    given = flat({**settings, "code": None})  # files with code may lie elsewhere
    given = {name: value for name, value in given.items() if name not in _OF_A_MACHINE}
    process_group.need_same(given, "give the same options on every machine")
    hint = "give every machine the same files, with the same names below --data"
    process_group.need_same(describe_sets(describe(index)), hint)
