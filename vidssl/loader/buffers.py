"""Memory of batches, used again as soon as nobody holds the batch: fresh pages would cost half a millisecond a tuple.

And the way up to a GPU: a copy from pinned memory keeps nobody waiting, one from other memory may.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import numpy.typing as npt
import torch

_LINE = 64  # bytes of a cache line: what is written past the caches begins on one


class Buffers:
    """Hands out tensors of `bytes` bytes. Thread-safe: a batch may be let go of in any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: deque[np.ndarray[tuple[int], np.dtype[np.uint8]]] = deque()

    def take(self) -> tuple[torch.Tensor, bool]:
        """uint8 [bytes] that nobody else has, and whether it was used before."""
        try:
            block, used = self._free.pop(), True
        except IndexError:
            block, used = np.empty(self._size + _LINE, np.uint8), False
        start = -block.ctypes.data % _LINE
        # torch keeps this very view for as long as any tensor of the batch lives; when it goes, the block is free
        # again.
        view = block[start : start + self._size]
        weakref.finalize(view, self._free.append, block).atexit = False
        return torch.from_numpy(view), used


def pinned(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Pinned memory, used again once the array is let go of: not before the last copy out of it has ended."""
    memory: npt.NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
    return memory


def upload(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """`array` on `device`, in the order of its current stream, without waiting for it; on the CPU the array itself."""
    held = torch.from_numpy(array)
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held
