"""Where and in which precision a run computes; what was chosen is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidssl.types import VidsslError


def pick_device(device: str) -> torch.device:
    """The device of "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N". Raises VidsslError where it is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError:
        picked = torch.device("meta")
    if picked.type not in ("cpu", "cuda"):
        raise VidsslError(f"device={device!r}: take auto, cpu, cuda or cuda:N")
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise VidsslError(f"device={device!r}: this machine shows {torch.cuda.device_count()} CUDA device(s) to torch; take cpu or auto")
    return picked


def pick_amp(amp: str, device: torch.device) -> bool:
    """Whether to train in bf16 autocast. "auto": on CUDA, and on a CPU with AMX.

    Measured with r3d_tiny, forward and backward, one thread: AMX 1.9x fp32, AVX512_BF16 alone 0.8x, AVX-512 alone 0.35x.
    """
    if amp == "auto":
        return device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return amp == "bf16"


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Let torch compute with that many threads on the CPU; None leaves one core to decoding, and gives how many that makes.

    Torch's threads wait for each other after every operation, so one that has to share its core holds up all: r3d_tiny trained on two
    busy cores at 15-25 clips/s with two threads and at 110-130 with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads if threads is not None else max(1, min(before, len(os.sched_getaffinity(0)) - 1)))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
