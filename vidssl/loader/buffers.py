"""Memory of batches, and uploads to a GPU.

The memory of a batch is used again as soon as nobody holds the batch: fresh pages would cost half a millisecond per
tuple. A copy to a GPU from pinned memory is asynchronous; a copy from other memory may wait for the device.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidssl.types import Frames, VidsslError

_TYPES = {name: getattr(torch, name) for name in ("uint8", "int32", "int64", "float32")}
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for all devices
_LINE = 64  # bytes of a cache line; stores that bypass the caches need this alignment


class Buffers:
    """Hands out tensors of `size` bytes. Thread-safe: a batch may be released in any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: deque[np.ndarray[tuple[int], np.dtype[np.uint8]]] = deque()

    def take(self) -> tuple[torch.Tensor, bool]:
        """Returns uint8 [size] that nobody else holds, and True if it was used before."""
        try:
            block, used = self._free.pop(), True
        except IndexError:
            block, used = np.empty(self._size + _LINE, np.uint8), False
        start = -block.ctypes.data % _LINE
        # torch holds this view as long as any tensor of the batch lives; after that, the block is free again.
        view = block[start : start + self._size]
        weakref.finalize(view, self._free.append, block).atexit = False
        return torch.from_numpy(view), used


def pinned(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Returns pinned memory uint8 `shape`. torch reuses it after the array is released and its copies have ended."""
    memory: npt.NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return memory


def pin(memory: npt.NDArray[np.uint8], device: torch.device) -> Callable[[], None]:
    """Pins memory that torch did not allocate, for every GPU. Returns what unpins it.

    Raises:
        VidsslError: The driver refuses.
    """
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    address = memory.ctypes.data
    with torch.cuda.device(device):  # a thread's first call makes a context on its current device
        error = runtime.cudaHostRegister(address, memory.nbytes, _PORTABLE)
    if int(error):
        raise VidsslError(
            f"device={device}: the driver cannot pin {memory.nbytes} bytes of memory ({error}); raise the limit of "
            "locked memory (ulimit -l), or take fewer workers"
        )
    return partial(runtime.cudaHostUnregister, address)


def staged(frames: Frames, device: torch.device) -> Frames:
    """Copies frames to memory that `upload` can use as it is: pinned for a GPU, and writable, as torch demands."""
    data = pinned(frames.data.shape) if device.type == "cuda" else np.empty(frames.data.shape, np.uint8)
    data[:] = frames.data
    return replace(frames, data=data)


def upload(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Copies `array` to `device` on its current stream, without waiting for the device.

    On the CPU the tensor shares the array's memory.
    """
    held = torch.from_numpy(array)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held


def upload_together(arrays: Sequence[npt.NDArray[Any]], device: torch.device) -> list[torch.Tensor]:
    """Copies small arrays to `device` on its current stream, by one copy for all of them, without waiting for it."""
    starts = np.cumsum([0, *(-(-array.nbytes // _LINE) * _LINE for array in arrays)])
    packed = np.empty(starts[-1], np.uint8)
    for array, start in zip(arrays, starts, strict=False):
        packed[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    whole = upload(packed, device)
    return [
        whole[start : start + array.nbytes].view(_TYPES[array.dtype.name]).reshape(array.shape)
        for array, start in zip(arrays, starts, strict=False)
    ]
