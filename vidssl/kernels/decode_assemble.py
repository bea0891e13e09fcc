"""decode_assemble: assembles each frame as it is decoded, while it is in a cache, without copying its planes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vidssl.kernels.assemble import Layout
from vidssl.native import kernels
from vidssl.types import Array, Plan
from vidssl.video.decode import PLANAR, Planes, Video, check_frame, decode_to


def decode_assemble(
    video: Video, numbers: npt.NDArray[np.int64], plan: Plan, out: Array, *, layout: Layout, used_before: bool
) -> None:
    """`assemble(decode(video, numbers), plan)` into `out`, bit for bit, on the CPU.

    numbers: as in `decode`; plan.frame counts in them. out: as `assemble` returns it. used_before: it is not fresh
    memory, so writing past the caches pays. Raises DecodeError as `decode` does; `out` then holds anything.
    """
    decode_to(_Assembled(video, plan, out, layout == "kthwc", used_before), video, numbers)


class _Assembled:
    """Stores each frame as the pictures of `plan` that show it."""

    def __init__(self, video: Video, plan: Plan, out: Array, channels_last: bool, used_before: bool) -> None:
        self._video = video
        self._assembler = kernels.FrameAssembler(
            video.space.to_rgb.ravel().tolist(),
            list(video.space.chroma),
            plan.frame,
            plan.box,
            plan.flip,
            plan.color,
            out,
            channels_last,
            used_before,
        )
        as_decoded = video.pixel_format in PLANAR and not video.rotation and not video.mirror
        self._upright = None if as_decoded else Planes(video, 1)  # else it is turned or converted there first

    def store(self, slot: int, frame: VideoFrame) -> None:
        if self._upright is None:
            check_frame(self._video, frame)
            y, u, v = frame.planes
            self._assembler.show(slot, y, u, v, y.line_size, u.line_size, *self._video.size)
        else:
            self._upright.store(0, frame)
            luma, *chroma = (part[0] for part in self._upright.parts)
            self._assembler.show(slot, luma, *chroma, luma.shape[1], chroma[0].shape[1], *self._video.size)
