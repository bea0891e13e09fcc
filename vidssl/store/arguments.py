"""Checks of what users hand to a FrameStore: each error names the argument, its value and the fix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from vidssl.checks import is_size, is_whole, is_word
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import need
from vidssl.remote import RemotePath, as_path
from vidssl.store.choose import NAMES
from vidssl.store.shard import BLOCK
from vidssl.types import MAX_SIDE
from vidssl.video.decode import Video
from vidssl.video.packets import PIXELS

_MOST = 2**63 - 1
_STORE = "FrameStore"


def folder_of(value: Any) -> Path:
    """Returns the folder that a path names. Raises VidsslError for a URL: the frames are mapped into memory."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    fix = "take the path of a folder, or None to keep nothing"
    need(isinstance(path, str) and path != "" and "\0" not in path, _STORE, "folder", value, fix)
    on_disk = "a store lies on a disk; fill one in a folder there, and copy its files to the bucket and back with the "
    need(
        not isinstance(as_path(path), RemotePath), _STORE, "folder", str(as_path(path)), f"{on_disk}bucket's own tools"
    )
    return Path(path)


def check_store(size: Any, limit: Any, backend: Any, *, keeps: bool) -> None:
    """Checks the arguments of a FrameStore, but its folder. keeps: whether it has one."""
    good = is_size(size) and not any(isinstance(side, bool) for side in size)
    fix = f'take "native", or (height, width) in pixels, whole numbers in 1..{MAX_SIDE}'
    need(good or is_word(size, ("native",)), _STORE, "size", size, fix)
    need(not good or int(size[0]) * int(size[1]) <= PIXELS, _STORE, "size", size, f"take at most {PIXELS} pixels")
    if limit is not None:
        check_whole(_STORE, "limit", limit, "take a whole number of bytes, such as 200 * 10**9, or None for no limit")
    need(is_word(backend, NAMES), _STORE, "backend", backend, f"take one of {', '.join(NAMES)}")
    fix = 'name a folder too, or take "auto" to keep nothing'
    need(keeps or backend in ("auto", "file"), _STORE, "backend", backend, fix)


def check_whole(method: str, name: str, value: Any, fix: str, least: int = 0) -> None:
    """Checks a whole number of `least` or more. A bool is none."""
    need(is_whole(value, least, _MOST), method, name, value, fix)


def check_index(method: str, index: Any) -> None:
    """Checks an index."""
    fix = "take a VideoIndex, such as VideoIndex.build(folder)"
    need(isinstance(index, VideoIndex), f"{_STORE}.{method}", "index", index, fix)


def check_video(method: str, video: Any) -> None:
    """Checks a video."""
    fix = "take a video of an index, such as index.video(0)"
    need(isinstance(video, Video), f"{_STORE}.{method}", "video", video, fix)


def check_frames(method: str, video: Any, first: Any, count: Any) -> None:
    """Checks a video, and the frames of it that are asked for."""
    check_video(method, video)
    check_whole(f"{_STORE}.{method}", "first", first, "take the number of a frame, 0 or more")
    check_whole(f"{_STORE}.{method}", "count", count, "take a number of frames, at least 1", 1)


def check_stopped(method: str, stopped: Any) -> None:
    """Checks a function that ends some work."""
    fix = "take a function without arguments that returns True to end the work"
    need(callable(stopped), f"{_STORE}.{method}", "stopped", stopped, fix)


def check_key(method: str, key: Any) -> None:
    """Checks the key of a video."""
    good = isinstance(key, bytes) and len(key) == 16
    need(good, f"{_STORE}.{method}", "key", key, "take the 16 bytes that FrameStore.key returns")


def check_added(key: Any, first: Any, data: Any, shape: tuple[int, int] | None) -> None:
    """Checks what is to be kept. shape: (lines, cols) of a frame; None if frames have the size of their video."""
    check_key("add", key)
    fix = f"take the number of a frame, a multiple of {BLOCK}"
    check_whole("FrameStore.add", "first", first, fix)
    need(int(first) % BLOCK == 0, "FrameStore.add", "first", first, fix)
    what = "F, 3 * rows / 2, cols" if shape is None else f"F, {shape[0]}, {shape[1]}"
    check_pixels("add", "data", data, what, shape)


def check_pixels(method: str, name: str, data: Any, what: str, shape: tuple[int, ...] | None) -> None:
    """Checks frames uint8 [F, lines, cols] that lie behind each other. shape: the last sides that they must have."""
    array = isinstance(data, np.ndarray)
    good = array and data.dtype == np.uint8 and data.ndim == 3 and data.size > 0 and data.flags.c_contiguous
    said = f"{data.dtype} {list(data.shape)}" if array else type(data).__name__
    fits = good and (shape is None or data.shape[1:] == shape)
    need(fits, f"{_STORE}.{method}", name, said, f"take a contiguous NumPy array uint8 [{what}]")
