"""nvdec: which videos a decoder of DALI's takes: the GPU's own (NVDEC), or DALI's software decoder in its place.

What the operator does was read in its source (DALI 2.4, dali/operators/video) and tried on a CPU; NVDEC itself is asked
what it takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from vidssl.types import VidsslError
from vidssl.video.decode import Video

# Numbers of cudaVideoCodec. DALI has no way to others (MPEG-1/2), and AV1 hides pictures within its packets.
_CODECS = {"mpeg4": 2, "h264": 4, "hevc": 8, "vp8": 9, "vp9": 10}
_LIBRARY = "libnvcuvid.so.1"
_MOUNTED = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")  # where containers and cluster nodes find the driver
_BLOCK = 16  # pixels: coded sizes are multiples of it,
_SMALL_BLOCK = 8  # or of this, in these codecs
_SMALL = ("hevc", "vp9")

Size = tuple[str, int, int]  # a codec, and rows and columns in pixels, as stored


class Limits(NamedTuple):
    """Coded sizes in pixels, and the most blocks of 16 x 16."""

    width: tuple[int, int]
    height: tuple[int, int]
    blocks: int


@dataclass(frozen=True, kw_only=True)
class GraphDecoder:
    """A device of DALI's `decoders.video`, and what it takes. limits: by codec; None where there are none.

    mixed_up: sizes that it does not take, since other videos have a size that these may be coded in (see `beside`).
    """

    device: Literal["mixed", "cpu"]
    limits: dict[str, Limits | None]
    mixed_up: Set[Size] = frozenset()

    @property
    def name(self) -> str:
        return "NVDEC" if self.device == "mixed" else "DALI's software decoder"

    def refusal(self, video: Video) -> str:
        """Why `video` is decoded on the CPU instead; "" where it is taken."""
        if video.codec not in self.limits:
            return f"no {video.codec}, of {', '.join(self.limits) or 'nothing'}"
        if video.pixel_format != "yuv420p":
            return f"no {video.pixel_format}, only yuv420p"
        if video.full_range:
            # DALI goes by what a stream says of itself, which is not always what the index found
            return "no full range"
        if video.rotation or video.mirror:
            return "it is stored turned"
        height, width = video.stored_size
        if height % 2 or width % 2:
            return f"{width}x{height} is odd"  # its converter leaves the last chroma samples out
        if (video.codec, height, width) in self.mixed_up:
            return f"{width}x{height} is coded in a size that other videos have, of which DALI would use the decoder"
        limits = self.limits[video.codec]
        across, down = (-(-pixels // _BLOCK) for pixels in (width, height))
        if limits is not None and not (
            limits.width[0] <= across * _BLOCK <= limits.width[1]
            and limits.height[0] <= down * _BLOCK <= limits.height[1]
            and across * down <= limits.blocks
        ):
            return f"{width}x{height} is beyond {limits.width[0]}x{limits.height[0]} to {limits.width[1]}x{limits.height[1]}"
        return ""

    def beside(self, sizes: Set[Size]) -> GraphDecoder:
        """The same for videos of these sizes, all that a process may decode.

        DALI keeps NVDEC's decoders for the next stream. It looks for one by the size in which that is coded (a multiple
        of 16), but enters each by the size that is shown: a stream of 320x236 takes over the decoder of one of 320x240,
        and its chroma is read from the wrong line, which nothing says. So of two such sizes, the one that is no
        multiple goes to the CPU.
        """
        if self.device == "cpu":
            return self
        return replace(self, mixed_up={size for size in sizes if (_coded(size) - {size}) & sizes})


def _coded(size: Size) -> set[Size]:
    """The sizes that a video of this size may be coded in."""
    codec, height, width = size
    blocks = (_SMALL_BLOCK, _BLOCK) if codec in _SMALL else (_BLOCK,)
    if height % _BLOCK == 0 and width % _BLOCK == 0:
        return {size}
    return {(codec, -(-height // block) * block, -(-width // block) * block) for block in blocks}


SOFTWARE = GraphDecoder(device="cpu", limits={"vp8": None, "vp9": None})  # and MJPEG, which has no limited range


def find_nvdec(device: torch.device) -> GraphDecoder:
    """NVDEC of `device`. Raises VidsslError, with the fix, where it cannot be had."""
    if device.type != "cuda":
        raise VidsslError(f'decode="nvdec": device={device} has no NVDEC; take device="cuda", or decode="cpu"')
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise VidsslError(
            f'decode="nvdec": {_LIBRARY} is not there ({error}); {_mend()}; or take decode="cpu"'
        ) from error
    with torch.cuda.device(device):
        torch.cuda.current_stream().query()  # the driver asks the current context, which exists from here on
        asked = {codec: _limits(library, number) for codec, number in _CODECS.items()}
    found: dict[str, Limits | None] = {codec: limits for codec, limits in asked.items() if limits is not None}
    if not found:
        raise VidsslError(f'decode="nvdec": device={device} decodes none of {", ".join(_CODECS)}; take decode="cpu"')
    return GraphDecoder(device="mixed", limits=found)


def _mend() -> str:
    """What to do where the dynamic loader does not find the library."""
    for folder in _MOUNTED:
        if Path(folder, _LIBRARY).exists():
            return f"it is in {folder}: set LD_LIBRARY_PATH={folder} before Python starts"
    return (
        "it comes with the driver: in a container, start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video; where the driver is "
        "mounted elsewhere, set LD_LIBRARY_PATH to the folder that has it"
    )


class _Caps(ctypes.Structure):
    """CUVIDDECODECAPS of NVIDIA's cuviddec.h."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("depth_minus_8", ctypes.c_uint),
        ("reserved1", ctypes.c_uint * 3),
        ("supported", ctypes.c_ubyte),
        ("engines", ctypes.c_ubyte),
        ("formats", ctypes.c_ushort),
        ("max_width", ctypes.c_uint),
        ("max_height", ctypes.c_uint),
        ("max_blocks", ctypes.c_uint),
        ("min_width", ctypes.c_ushort),
        ("min_height", ctypes.c_ushort),
        ("histogram", ctypes.c_ubyte),
        ("counter_depth", ctypes.c_ubyte),
        ("max_bins", ctypes.c_ushort),
        ("reserved3", ctypes.c_uint * 10),
    )


def _limits(library: ctypes.CDLL, codec: int) -> Limits | None:
    """What the current CUDA device decodes of a codec, in 8-bit 4:2:0; None for nothing."""
    caps = _Caps(codec=codec, chroma=1)
    error = library.cuvidGetDecoderCaps(ctypes.byref(caps))
    if error or not caps.supported:
        return None
    return Limits((caps.min_width, caps.max_width), (caps.min_height, caps.max_height), caps.max_blocks)
