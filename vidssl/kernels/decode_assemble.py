"""decode_assemble: assembles each frame right after it is decoded, while it is in a cache, and copies no planes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vidssl.kernels.assemble import Layout
from vidssl.native import kernels
from vidssl.types import Array, Plan
from vidssl.video.decode import Planar, Video, decode_to


def decode_assemble(
    video: Video, numbers: npt.NDArray[np.int64], plan: Plan, out: Array, *, layout: Layout, used_before: bool
) -> None:
    """Writes `assemble(decode(video, numbers), plan)` to `out`, with the same bits, on the CPU.

    Args:
        video: The video to decode.
        numbers: int64 [F], unique frame numbers of the video, ascending.
        plan: numpy arrays. plan.frame holds positions in `numbers`.
        out: numpy array of the shape that `assemble` returns for `layout`.
        layout: Order of the axes of `out`, as in `assemble`.
        used_before: True if `out` was written to before. Writing past the caches is then faster.

    Raises:
        DecodeError: A frame cannot be decoded, or the file changed after it was indexed. The content of `out` is then
            undefined.
        VidsslError: The plan or `out` has a wrong type, shape or value.
    """
    decode_to(_Assembled(video, plan, out, layout == "kthwc", used_before), video, numbers)


class _Assembled:
    """Writes each decoded frame to all pictures of the plan that show it."""

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
        self._planar = Planar(video)

    def store(self, slot: int, frame: VideoFrame) -> None:
        self._assembler.show(slot, *self._planar(frame), *self._video.size)
