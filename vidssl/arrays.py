"""Allocates arrays in the library of another array (torch, cupy or numpy), and finds its CUDA stream and device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from vidssl.types import Array, VidsslError


def _library(array: Array) -> str:
    return type(array).__module__.partition(".")[0]


def empty_like(array: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Return uninitialised memory in the library of `array` (torch, cupy, else numpy) and on its device."""
    library = _library(array)
    if library == "torch":
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype), device=array.device)
    if dtype == "bfloat16":
        raise VidsslError(f"dtype='bfloat16': {library} has no such type; pass torch tensors, or use float16")
    if library == "cupy":
        import cupy

        with array.device:  # else it would be on the current one
            return cupy.empty(shape, dtype=dtype)
    return np.empty(shape, dtype=dtype)


def stream_of(array: Array) -> int:
    """The current CUDA stream of the array's library in DLPack's numbering (1: legacy default); 0 on the host."""
    library = _library(array)
    if library == "torch" and array.is_cuda:
        import torch

        return torch.cuda.current_stream(array.device).cuda_stream or 1
    if library == "cupy":
        import cupy

        return int(cupy.cuda.get_current_stream().ptr) or 1
    return 0


def device_of(array: Array) -> AbstractContextManager[Any]:
    """A context in which the array's CUDA device is current, as a kernel launch needs; no effect on the host."""
    library = _library(array)
    if library == "torch" and array.is_cuda:
        import torch

        return torch.cuda.device(array.device)
    if library == "cupy":
        return array.device  # type: ignore[no-any-return]
    return nullcontext()


def to_kind(array: np.ndarray[Any, Any], like: Array) -> Array:
    """Copy a numpy array to the library and device of `like`. If `like` is a numpy array, return `array` itself."""
    library = _library(like)
    if library == "torch":
        import torch

        return torch.from_numpy(array).to(like.device)
    if library == "cupy":
        import cupy

        with like.device:
            return cupy.asarray(array)
    return array
