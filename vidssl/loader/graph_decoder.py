"""Which videos a decoder in the DALI graph takes: the GPU's own (NVDEC), or DALI's software decoder.

Source: the operator's code (DALI 2.4, dali/operators/video), and trials of it on a CPU. NVDEC reports its own limits.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from vidssl.types import VidsslError
from vidssl.video.decode import Video

# Numbers of cudaVideoCodec. DALI cannot use others (MPEG-1/2); AV1 hides pictures within its packets.
_CODECS = {"mpeg4": 2, "h264": 4, "hevc": 8, "vp8": 9, "vp9": 10}
_LIBRARY = "libnvcuvid.so.1"
_MOUNTED = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib")  # where containers and cluster nodes mount the driver
_BLOCK = 16  # pixels: sides of an NVDEC picture, see `GraphDecoder.refusal`


class Limits(NamedTuple):
    """Least and greatest coded sizes in pixels, and the greatest number of blocks of 16 x 16."""

    width: tuple[int, int]
    height: tuple[int, int]
    blocks: int


@dataclass(frozen=True, kw_only=True)
class GraphDecoder:
    """A device of DALI's `decoders.video`, and what it takes.

    Args:
        device: "mixed" is NVDEC, "cpu" DALI's software decoder.
        limits: Sizes of each codec that it takes; None means all sizes.
    """

    device: Literal["mixed", "cpu"]
    limits: dict[str, Limits | None]

    @property
    def name(self) -> str:
        return "NVDEC" if self.device == "mixed" else "DALI's software decoder"

    def refusal(self, video: Video) -> str:
        """Returns why it does not take `video`; "" if it does.

        Of NVDEC, only sides that are multiples of 16. DALI keeps NVDEC's decoders for the next stream, in any loader of
        the process. It looks a decoder up by the coded size, which is such a multiple, but stores it under the shown
        size. So a stream of 320x236 takes a decoder of 320x240, and its chroma is read from the wrong line without an
        error (seen on an H200); if there is none, it makes a new one for each window, which takes longer than to decode
        the window.
        """
        if video.codec not in self.limits:
            return f"no {video.codec}, of {', '.join(self.limits) or 'nothing'}"
        if video.pixel_format != "yuv420p":
            return f"no {video.pixel_format}, only yuv420p"
        if video.damaged:
            return "it is damaged, and decoders hide damage in different ways"
        if video.full_range:
            # DALI trusts the stream's flag, which may differ from what the index found
            return "no full range"
        if video.rotation or video.mirror:
            return "it is stored turned"
        height, width = video.stored_size
        if height % 2 or width % 2:
            return f"{width}x{height} is odd"  # DALI's converter drops the last chroma samples
        limits = self.limits[video.codec]
        if limits is None:
            return ""
        if height % _BLOCK or width % _BLOCK:
            return f"{width}x{height} is no multiple of {_BLOCK}; `vidssl prepare` makes videos that it takes"
        if not (
            limits.width[0] <= width <= limits.width[1]
            and limits.height[0] <= height <= limits.height[1]
            and height * width // _BLOCK**2 <= limits.blocks
        ):
            least, most = (f"{limits.width[end]}x{limits.height[end]}" for end in (0, 1))
            return f"{width}x{height} is beyond {least} to {most}"
        return ""


SOFTWARE = GraphDecoder(device="cpu", limits={"vp8": None, "vp9": None})  # not MJPEG: it has no limited range


def find_nvdec(device: torch.device) -> GraphDecoder:
    """Returns NVDEC of `device`. Raises VidsslError, with a hint, if it is not available."""
    if device.type != "cuda":
        raise VidsslError(f'decode="nvdec": device={device} has no NVDEC; take device="cuda", or decode="cpu"')
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise VidsslError(
            f'decode="nvdec": {_LIBRARY} is not there ({error}); {_hint()}; or take decode="cpu"'
        ) from error
    with torch.cuda.device(device):
        torch.cuda.current_stream().query()  # the driver asks the current context, which exists from here on
        asked = {codec: _limits(library, number) for codec, number in _CODECS.items()}
    found: dict[str, Limits | None] = {codec: limits for codec, limits in asked.items() if limits is not None}
    if not found:
        raise VidsslError(f'decode="nvdec": device={device} decodes none of {", ".join(_CODECS)}; take decode="cpu"')
    return GraphDecoder(device="mixed", limits=found)


def _hint() -> str:
    """Returns what to do if the dynamic loader does not find the library."""
    for folder in _MOUNTED:
        if Path(folder, _LIBRARY).exists():
            return f"it is in {folder}: set LD_LIBRARY_PATH={folder} before Python starts"
    return (
        "it is part of the driver: start a container with NVIDIA_DRIVER_CAPABILITIES=compute,utility,video; "
        "if the driver is mounted elsewhere, set LD_LIBRARY_PATH to the folder that has it"
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
    """Returns what the current CUDA device decodes of a codec, in 8-bit 4:2:0; None if nothing."""
    caps = _Caps(codec=codec, chroma=1)
    error = library.cuvidGetDecoderCaps(ctypes.byref(caps))
    if error or not caps.supported:
        return None
    return Limits((caps.min_width, caps.max_width), (caps.min_height, caps.max_height), caps.max_blocks)
