"""Memory of batches, used again as soon as nobody holds the batch: fresh pages would cost half a millisecond a tuple."""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch

_LINE = 64  # bytes of a cache line: what is written past the caches begins on one


class Memory:
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
        # torch keeps this very view for as long as any tensor of the batch lives; when it goes, the block is free again.
        view = block[start : start + self._size]
        weakref.finalize(view, self._free.append, block).atexit = False
        return torch.from_numpy(view), used
