"""In which precision and with how many threads a run computes; what was chosen is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidssl.native import build_info

WIDE = 1_000_000  # parameters


def pick_amp(amp: str, device: torch.device, parameters: int) -> bool:
    """Whether to train a model of so many parameters in bf16 autocast. "auto": on CUDA, on a CPU with AMX, and with AVX512_BF16 a wide one.

    Measured, forward and backward: with AMX r3d_tiny 1.9x float32; with AVX512_BF16 alone r3d_tiny (0.3 million parameters) 0.8x, R3D (14
    million) 1.6x; with AVX-512 alone r3d_tiny 0.35x.
    """
    if amp == "auto":
        wide = parameters >= WIDE and torch.cpu._is_avx512_bf16_supported()
        return device.type == "cuda" or torch.cpu._is_amx_tile_supported() or wide
    return amp == "bf16"


def loads_on(device: torch.device) -> torch.device:
    """Where the loader works for training on `device`: a build without CUDA twins loads on the CPU, and its batches are uploaded."""
    return device if device.type == "cpu" or build_info()["cuda"] else torch.device("cpu")


def count(model: torch.nn.Module) -> int:
    """Parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


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
