"""choose: where frames are decoded, and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import torch

from vidssl.loader.engines.base import Setting
from vidssl.loader.graph_decoder import SOFTWARE, Hardware, find_nvdec
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
Decode = Literal["auto", "cpu", "nvdec", "dali"]
DECODES: tuple[str, ...] = get_args(Decode)
_ASKED = 64  # videos of an index that are looked at
_BEFORE, _SECONDS = 2, 1.5  # batches before the clock starts, and how long it runs
_measured: dict[str, tuple[bool, str]] = {}  # of this process: loaders of one set take one measurement


class Measured(Protocol):
    """What a measurement needs of a loader."""

    device: torch.device
    setting: Setting

    def __iter__(self) -> Iterator[Any]: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *_: Any) -> None: ...


def choose(
    decode: str, device: torch.device, index: VideoIndex, rows: npt.NDArray[np.int64], key: str, make: Callable[[Decode], Measured]
) -> tuple[Hardware | None, str]:  # fmt: skip
    """The decoder in the graph, or None for decoding on the CPU; and why.

    rows: the videos that will be shown. key: what a measurement holds for. make: a loader with another `decode`, to measure. Raises
    VidsslError where what was asked for cannot be had.
    """
    if decode == "cpu":
        return None, "it is given"
    if decode == "dali":
        if device.type != "cpu":
            raise VidsslError(f'decode="dali": it is for device="cpu", not {device}; take decode="nvdec" there')
        return _serving(decode, SOFTWARE, index, rows)
    if decode == "nvdec":
        return _serving(decode, find_nvdec(device).beside(index.stored_sizes()), index, rows)
    if device.type != "cuda":
        return None, f"device={device}"
    try:
        hardware, taken = _serving(decode, find_nvdec(device).beside(index.stored_sizes()), index, rows)
    except VidsslError as error:
        return None, str(error)
    if key not in _measured:
        _measured[key] = _measure(make)
    faster, why = _measured[key]
    return (hardware if faster else None), f"{why}; {taken}"


def _measure(make: Callable[[Decode], Measured]) -> tuple[bool, str]:
    """Whether NVDEC is the faster one, and by how much. Where it fails it is not: the CPU decodes everything."""
    log.info("decode=auto: measuring")
    cpu = _rate(make("cpu"))
    try:
        nvdec = _rate(make("nvdec"))
    except Exception as error:  # of the driver, DALI, torch or ours
        told = " ".join(str(error).split())
        log.warning("decode=auto: NVDEC failed while it was measured (%s); videos are decoded on the CPU", told)
        return False, f"{cpu:.0f} windows/s by CPU, and NVDEC failed while it was measured: {told}"
    return nvdec > cpu, f"{nvdec:.0f} windows/s by NVDEC, {cpu:.0f} by CPU"


def _rate(loader: Measured) -> float:
    """Windows a second, once what runs ahead is under way."""
    with loader:
        batches = (batch for _ in count() for batch in loader)
        for _ in range(_BEFORE):
            next(batches)
        began, taken = perf_counter(), 0
        while taken < _BEFORE or perf_counter() - began < _SECONDS:
            next(batches)
            taken += 1
        if loader.device.type == "cuda":
            torch.cuda.synchronize(loader.device)
        return taken * loader.setting.windows / (perf_counter() - began)


def _serving(decode: str, hardware: Hardware, index: VideoIndex, rows: npt.NDArray[np.int64]) -> tuple[Hardware, str]:
    """`hardware`, and what part of the videos it takes. Raises VidsslError where that is none."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _ASKED)).astype(int)]
    reasons = [_refusal(hardware, index, int(row)) for row in some]
    taken = reasons.count("")
    if not taken:
        raise VidsslError(f'decode={decode!r}: {hardware.name} takes none of {len(some)} videos looked at: {reasons[0]}; take decode="cpu"')
    others = Counter(reason for reason in reasons if reason).most_common(1)
    rest = f" (most of the others not: {others[0][0]})" if others else ""
    return hardware, f"{hardware.name} takes {taken} of {len(some)} videos looked at{rest}"


def _refusal(hardware: Hardware, index: VideoIndex, row: int) -> str:
    try:
        return hardware.refusal(index.video(row))
    except VidsslError as error:  # a damaged row: it is replaced when it is drawn
        return str(error)
