"""Chooses where kept frames lie while a loader runs, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, get_args

from vidssl.index.table import VideoIndex
from vidssl.memory import available_bytes
from vidssl.paths import readable

if TYPE_CHECKING:
    from torch import device as Device

Name = Literal["auto", "file", "memory", "device"]
NAMES: tuple[str, ...] = get_args(Name)
PART = 0.5  # of the available memory that frames may take; the rest is for what trains


class Store(Protocol):
    """What the choice needs of a FrameStore."""

    @property
    def backend(self) -> Name: ...
    def bytes_of(self, index: VideoIndex) -> int: ...
    def hold_in_memory(self, need: int, part: float) -> str: ...


def choose_backend(store: Store, index: VideoIndex, device: Device, free: int, *, in_place: bool) -> tuple[str, str]:
    """Returns "file", "memory" or "device", and the reason.

    Args:
        store: The store; its `backend` asks for one of these, or for "auto".
        index: The videos that will be shown.
        device: Device of the clips.
        free: Bytes of memory of `device` that are available.
        in_place: False if the loader's engine cannot use frames where they lie on the device.
    """
    need = store.bytes_of(index)
    half = f"half of the {readable(free)} that are available on {device}"
    if store.backend != "auto":
        why = "it was asked for"
        if store.backend == "device" and need > PART * free:
            held = f"{readable(int(PART * free))} of {readable(need)} are held there, {half}"
            why += f"; {held}; the rest is read from files"
        return store.backend, why
    if device.type != "cuda":
        not_there = f"device={device}"
    elif not in_place:
        not_there = 'only engine="store" uses frames on the device'
    elif need > PART * free:
        not_there = f"{readable(need)} of frames are more than {half}"
    else:
        return "device", f"{readable(need)} of frames fit into {half}"
    refusal = store.hold_in_memory(need, PART)
    if refusal:
        return "file", f"{refusal}; and not on the device: {not_there}"
    memory = f"half of the {readable(available_bytes())} of memory that are available"
    return "memory", f"{readable(need)} of frames fit into {memory}; {not_there}"
