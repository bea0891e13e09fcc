"""What a run computes with: its precision, its device for the loader, and its number of CPU threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidssl.cpus import cpus
from vidssl.native import build_info

WIDE = 1_000_000  # parameters


def pick_amp(amp: str, device: torch.device, parameters: int) -> bool:
    """Decides whether to train in bfloat16 autocast.

    "auto" takes it on CUDA, on a CPU with AMX, and on a CPU with AVX512_BF16 for a wide model. Measured speed, forward
    and backward, relative to float32: r3d_tiny (0.3 million parameters) 1.9x with AMX, 0.8x with AVX512_BF16 alone and
    0.35x with AVX-512 alone; R3D (14 million) 1.6x with AVX512_BF16 alone.

    Args:
        amp: "auto", "bf16" or "off".
        device: Where the model computes.
        parameters: Their number in the model.
    """
    if amp == "auto":
        wide = parameters >= WIDE and torch.cpu._is_avx512_bf16_supported()
        return device.type == "cuda" or torch.cpu._is_amx_tile_supported() or wide
    return amp == "bf16"


def loads_on(device: torch.device) -> torch.device:
    """Returns where the loader works: on `device`, or on the CPU if this build has no CUDA kernels for it."""
    return device if device.type == "cpu" or build_info()["cuda"] else torch.device("cpu")


def count(model: torch.nn.Module, *, trained: bool = False) -> int:
    """Returns the number of parameters of a model. trained: only of those that are trained."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad or not trained)


@contextmanager
def torch_threads(threads: int | None, *, processes: int = 1) -> Iterator[int]:
    """Sets how many CPU threads torch computes with, for the block.

    Torch's threads wait for each other after every operation, so one thread on a shared core delays all of them: on two
    busy cores r3d_tiny trained at 15-25 clips/s with two threads and at 110-130 with one.

    Args:
        threads: Their number; None leaves one core to decoding.
        processes: Processes that share this machine's cores.

    Yields:
        The number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads if threads is not None else max(1, min(before, cpus() // processes - 1)))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
