"""device: frames lie in the memory of a device, where the kernels read them in place.

An arena is one long video: the frames of many videos of one size, one after another. A position in it is therefore a
frame number, and one call of `assemble` serves all windows of a batch. Videos are copied in whole, when a worker first
meets them and the store has all of their frames. What does not fit is read from the store each time.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from vidssl.index.table import VideoIndex
from vidssl.memory import available_bytes
from vidssl.types import MAX_FRAMES, ColorSpace, Frames, planar_shape
from vidssl.video.decode import Video

_COPIED = 2**26  # bytes that are copied at once


class Store(Protocol):
    """What an arena needs of a FrameStore."""

    def sizes_of(self, index: VideoIndex) -> dict[tuple[int, int], int]: ...
    def size_of(self, video: Video) -> tuple[int, int]: ...
    def space_of(self, video: Video) -> ColorSpace: ...
    def missing(self, video: Video) -> list[range]: ...
    def copy_to(self, video: Video, first: int, out: npt.NDArray[np.uint8]) -> bool: ...


class Place(NamedTuple):
    """Where the frames of a video lie.

    Attributes:
        frames: The arena, as frames of the video's size and colour space. Places of one size and one colour space share
            this object.
        first: Position of the video's frame 0 in it.
        video: The video.
    """

    frames: Frames
    first: int
    video: Video


def free_bytes(device: torch.device) -> int:
    """Bytes of memory of a device that are available."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()


class Arenas:
    """The frames of an index that lie on a device: an arena for each size.

    A loader has its own: which videos they hold depends on the order in which its workers meet them, the frames that it
    shows do not. All methods may be called from several threads.

    Args:
        store: Where frames are copied from.
        index: The videos.
        device: Where the arenas lie.
        most: Bytes that they may take. If the videos need more, each size gets the same fraction.
    """

    def __init__(self, store: Store, index: VideoIndex, device: torch.device, most: int) -> None:
        self._store, self._device = store, device
        self._lock = threading.Lock()
        # A stream of its own, so that a copy never waits for training.
        make: Any = torch.cuda.Stream  # torch carries no types for it
        self._stream: torch.cuda.Stream | None = make(device) if device.type == "cuda" else None
        wanted = {size: (frames, planar_shape(frames, size)) for size, frames in store.sizes_of(index).items()}
        need = sum(frames * lines * cols for frames, (_, lines, cols) in wanted.values())
        with torch.cuda.stream(self._stream):
            self._arenas = {
                size: _Arena(min(frames, frames * most // max(1, need), MAX_FRAMES), shape[1:], device)
                for size, (frames, shape) in wanted.items()
            }
        self._places: dict[int, Place | None] = {}  # by row; None while it is copied, and if it does not fit

    def find(self, row: int) -> Place | None:
        """Returns where the video of a row lies; None if it is not here."""
        return self._places.get(row)

    def admit(self, row: int, video: Video) -> Place | None:
        """Copies the frames of a video, if the store has all of them and they fit.

        The copy has ended when this returns, so kernels on any stream may read the frames.

        Returns:
            Where they lie; None if they are not here, or if another thread copies them right now.
        """
        size, frames = self._store.size_of(video), video.frames
        with self._lock:
            if row in self._places:
                return self._places[row]
            if self._store.missing(video):
                return None
            self._places[row] = None
            arena = self._arenas[size]
            first = arena.room_for(row, frames)
            if first is None:
                return None
        whole = False
        try:
            whole = self._copy(video, arena, first)
        finally:
            with self._lock:
                if whole:
                    self._places[row] = Place(arena.shown_in(size, self._store.space_of(video)), first, video)
                else:  # a block is damaged: the store has dropped it, and may get it again
                    del self._places[row]
        return self._places.get(row)

    def _copy(self, video: Video, arena: _Arena, first: int) -> bool:
        _, lines, cols = arena.data.shape
        most = max(1, _COPIED // (lines * cols))
        for begin in range(0, video.frames, most):
            count = min(most, video.frames - begin)
            part = np.empty((count, lines, cols), np.uint8)
            if not self._store.copy_to(video, begin, part):
                return False
            with torch.cuda.stream(self._stream):
                arena.data[first + begin : first + begin + count].copy_(torch.from_numpy(part))  # and waits for it
        return True

    def close(self) -> None:
        """Frees the memory, after the kernels that the current stream was given."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        self._places.clear()
        self._arenas.clear()


class _Arena:
    """uint8 [frames, lines, cols]. Each video has its room, also while it is not there yet."""

    def __init__(self, frames: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.data = torch.empty((frames, *shape), dtype=torch.uint8, device=device)
        self._used, self._rooms = 0, dict[int, int]()  # frames that are taken; the first frame of each row
        self._number = np.arange(frames)
        self._shown: dict[tuple[bytes, tuple[float, float]], Frames] = {}

    def room_for(self, row: int, frames: int) -> int | None:
        """Returns the first frame of the room of a row, the same each time; None if it does not fit."""
        if row not in self._rooms:
            if self._used + frames > len(self.data):
                return None
            self._rooms[row] = self._used
            self._used += frames
        return self._rooms[row]

    def shown_in(self, size: tuple[int, int], space: ColorSpace) -> Frames:
        """Returns all of it as frames of a colour space, the same object for the same colour space."""
        name = space.to_rgb.tobytes(), space.chroma
        if name not in self._shown:
            self._shown[name] = Frames(data=self.data, number=self._number, size=size, space=space)
        return self._shown[name]
