"""Memory of an array's own kind and its CUDA stream, for torch, cupy and numpy."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from vidssl.types import Array, VidsslError


def _library(array: Array) -> str:
    return type(array).__module__.partition(".")[0]


def empty_like(array: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Uninitialised memory of `array`'s kind (torch, cupy, else numpy) on `array`'s device."""
    library = _library(array)
    if library == "torch":
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype), device=array.device)
    if dtype == "bfloat16":
        raise VidsslError(f"dtype='bfloat16': {library} has no such type; pass torch tensors or take float16")
    if library == "cupy":
        import cupy

        return cupy.empty(shape, dtype=dtype)
    return np.empty(shape, dtype=dtype)


def stream_of(array: Array) -> int:
    """The current CUDA stream of `array`'s library in DLPack's numbering (1 = legacy default); 0 for host arrays."""
    library = _library(array)
    if library == "torch" and array.is_cuda:
        import torch

        return torch.cuda.current_stream(array.device).cuda_stream or 1
    if library == "cupy":
        import cupy

        return int(cupy.cuda.get_current_stream().ptr) or 1
    return 0


def device_of(array: Array) -> AbstractContextManager[Any]:
    """Makes `array`'s CUDA device the current one, as a kernel launch needs it; does nothing for host arrays."""
    library = _library(array)
    if library == "torch" and array.is_cuda:
        import torch

        return torch.cuda.device(array.device)
    if library == "cupy":
        return array.device  # type: ignore[no-any-return]
    return nullcontext()


def to_kind(array: np.ndarray[Any, Any], like: Array) -> Array:
    """`array` in `like`'s library and on its device; numpy stays as it is."""
    library = _library(like)
    if library == "torch":
        import torch

        return torch.from_numpy(array).to(like.device)
    if library == "cupy":
        import cupy

        return cupy.asarray(array)
    return array
