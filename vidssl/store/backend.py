"""What all backends of a store share: where the frames that are kept lie while a loader runs."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Backend(Protocol):
    """Gives frames that are kept. Shards of a folder are behind every backend, and are never changed.

    A video is named by its key (`FrameStore.key`). All methods may be called from several threads.
    """

    @property
    def shard_bytes(self) -> int:
        """Bytes of all shards."""
        ...

    def refresh(self) -> None:
        """Takes in the shards that were completed since the last call."""
        ...

    def missing(self, key: bytes, frames: int) -> list[range]:
        """The ranges of frames 0 .. frames - 1 of a video that are not kept."""
        ...

    def read(self, key: bytes, first: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
        """Returns frames first, first + 1, ... of a video, read-only, without a copy if they lie behind each other.

        Args:
            key: Of the video.
            first: Number of the first frame.
            shape: (frames, lines, cols) of the result.

        Returns:
            uint8 `shape`. None if not all of them are kept.
        """
        ...
