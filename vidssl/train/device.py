"""In which precision and with how many threads a run computes; what was chosen is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pick_amp(amp: str, device: torch.device) -> bool:
    """Whether to train in bf16 autocast. "auto": on CUDA, and on a CPU with AMX.

    Measured with r3d_tiny, forward and backward, one thread: AMX 1.9x fp32, AVX512_BF16 alone 0.8x, AVX-512 alone 0.35x.
    """
    if amp == "auto":
        return device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return amp == "bf16"


@contextmanager
def torch_threads(threads: int | None, *, processes: int = 1) -> Iterator[int]:
    """Let torch compute with that many threads on the CPU; None leaves one core to decoding, and gives how many that makes.

    processes: that share this machine's cores.

    Torch's threads wait for each other after every operation, so one that has to share its core holds up all: r3d_tiny trained on two
    busy cores at 15-25 clips/s with two threads and at 110-130 with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads if threads is not None else max(1, min(before, len(os.sched_getaffinity(0)) // processes - 1)))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
