"""Chooses where frames are decoded, and says why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from vidssl.index.table import VideoIndex
from vidssl.loader.graph_decoder import SOFTWARE, GraphDecoder, find_nvdec
from vidssl.native import dali_version, need_dali
from vidssl.store.frames import FrameStore
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
Decode = Literal["auto", "cpu", "nvdec", "dali"]
DECODES: tuple[str, ...] = get_args(Decode)
_SAMPLE = 64  # videos of an index that are looked at


def choose_decoder(
    decode: str,
    device: torch.device,
    index: VideoIndex,
    rows: npt.NDArray[np.int64],
    measure: Callable[[GraphDecoder | None], float],
) -> tuple[GraphDecoder | None, str]:
    """Returns the decoder in the graph, or None to decode on the CPU; and the reason.

    Args:
        decode: One of DECODES.
        device: Device of the clips.
        index: The videos.
        rows: int64 [N], rows of the videos that will be shown.
        measure: Returns the windows per second with a decoder in the graph, or with None on the CPU. Called only for
            decode="auto".

    Raises:
        VidsslError: The decoder that `decode` names is not available, or takes none of the videos.
    """
    if decode == "cpu":
        return None, "it was asked for"
    if decode == "dali":
        if device.type != "cpu":
            raise VidsslError(f'decode="dali": it is for device="cpu", not {device}; take decode="nvdec" there')
        need_dali('decode="dali"')
        return _serving(decode, SOFTWARE, index, rows)
    if decode == "nvdec":
        need_dali('decode="nvdec"')
        return _serving(decode, find_nvdec(device), index, rows)
    if device.type != "cuda":
        return None, f"device={device}"
    if dali_version() is None:
        return None, "DALI, by which NVDEC decodes, is not installed"
    need_dali('decode="auto"')
    try:
        nvdec, taken = _serving(decode, find_nvdec(device), index, rows)
    except VidsslError as error:
        return None, str(error)
    faster, why = _compare(nvdec, measure)
    return (nvdec if faster else None), f"{why}; {taken}"


def _compare(nvdec: GraphDecoder, measure: Callable[[GraphDecoder | None], float]) -> tuple[bool, str]:
    """Returns True if NVDEC is faster than the CPU, and both speeds. False if NVDEC fails."""
    log.info("decode=auto: measuring NVDEC and the CPU")
    on_cpu = measure(None)
    try:
        on_nvdec = measure(nvdec)
    except Exception as error:  # of the driver, DALI, torch or ours
        message = " ".join(str(error).split())
        log.warning("decode=auto: NVDEC failed while it was measured (%s); videos are decoded on the CPU", message)
        return False, f"{on_cpu:.0f} windows/s by CPU, and NVDEC failed while it was measured: {message}"
    return on_nvdec > on_cpu, f"{on_nvdec:.0f} windows/s by NVDEC, {on_cpu:.0f} by CPU"


def _serving(
    decode: str, decoder: GraphDecoder, index: VideoIndex, rows: npt.NDArray[np.int64]
) -> tuple[GraphDecoder, str]:
    """Returns `decoder`, and how many of the videos it takes. Raises VidsslError if it takes none."""
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int)]
    reasons = [_refusal(decoder, index, int(row)) for row in some]
    taken = reasons.count("")
    if not taken:
        raise VidsslError(
            f"decode={decode!r}: {decoder.name} takes none of {len(some)} videos looked at: {reasons[0]}; "
            'take decode="cpu"'
        )
    others = Counter(reason for reason in reasons if reason).most_common(1)
    rest = f" (most of the others not: {others[0][0]})" if others else ""
    return decoder, f"{decoder.name} takes {taken} of {len(some)} videos looked at{rest}"


def _refusal(decoder: GraphDecoder, index: VideoIndex, row: int) -> str:
    try:
        return decoder.refusal(index.video(row))
    except VidsslError as error:  # a damaged row: it is replaced when it is drawn
        return str(error)


def decode_with_store(store: FrameStore, decode: Decode, crop: tuple[int, int]) -> Decode:
    """Returns where a loader with a store decodes: on the CPU, so that kept and decoded frames have the same bits.

    Raises:
        VidsslError: It is no store, its frames are smaller than a crop (h, w), or `decode` names another decoder.
    """
    if not isinstance(store, FrameStore):
        raise VidsslError(f"store={store!r}: take a vidssl.FrameStore")
    if decode not in ("auto", "cpu"):
        raise VidsslError(f'decode={decode!r}: a store decodes on the CPU; take "auto" or "cpu"')
    if store.size != "native" and (store.size[0] < crop[0] or store.size[1] < crop[1]):
        raise VidsslError(
            f"store={store!r}: crops are {crop[0]}x{crop[1]}; take a store of at least that size, or a native one"
        )
    return "cpu"
