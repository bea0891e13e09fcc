"""The compiled kernels and what an array needs to meet them: memory of its own kind, and its CUDA stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vidssl.types import Array, VidsslError

try:
    from vidssl import _native as kernels
except ImportError as error:
    raise VidsslError(f"vidssl._native cannot be imported ({error}): build it with `make build` or `pip install .`") from error

PLUGIN = Path(__file__).with_name("libvidssl_dali.so")


def build_info() -> dict[str, Any]:
    """What was built: cuda (bool), cuda_archs, nvcc, dali (version of its headers), compiler, simd (the CPU body in use)."""
    return dict(kernels.build_info())


def _module(array: Array) -> str:
    return type(array).__module__.partition(".")[0]


def empty_like(array: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Uninitialised memory of `array`'s kind (torch, cupy, else numpy) on `array`'s device."""
    kind = _module(array)
    if kind == "torch":
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype), device=array.device)
    if dtype == "bfloat16":
        raise VidsslError(f"dtype='bfloat16': {kind} has no such type; pass torch tensors or take float16")
    if kind == "cupy":
        import cupy

        return cupy.empty(shape, dtype=dtype)
    return np.empty(shape, dtype=dtype)


def stream_of(array: Array) -> int:
    """The current CUDA stream of `array`'s library in DLPack's numbering (1 = legacy default); 0 for host arrays."""
    kind = _module(array)
    if kind == "torch" and array.is_cuda:
        import torch

        return torch.cuda.current_stream(array.device).cuda_stream or 1
    if kind == "cupy":
        import cupy

        return int(cupy.cuda.get_current_stream().ptr) or 1
    return 0


def to_kind(array: np.ndarray[Any, Any], like: Array) -> Array:
    """`array` copied to `like`'s library and device; numpy stays as it is."""
    kind = _module(like)
    if kind == "torch":
        import torch

        return torch.from_numpy(array).to(like.device)
    if kind == "cupy":
        import cupy

        return cupy.asarray(array)
    return array
