"""assemble: makes the encoder's input from decoded planes in one pass. Source: csrc/kernels/assemble.h."""

from __future__ import annotations

from typing import Literal

from vidssl.arrays import device_of, empty_like, stream_of
from vidssl.checks import MAX_SIDE, is_size, is_whole, is_word
from vidssl.native import kernels
from vidssl.types import Array, Frames, Plan, VidsslError, as_frames

MAX_THREADS = 1024
DType = Literal["float32", "float16", "bfloat16", "uint8"]
Layout = Literal["kcthw", "kthwc"]


def assemble(
    frames: Frames | Array,
    plan: Plan,
    *,
    size: tuple[int, int],
    dtype: DType = "float32",
    layout: Layout = "kcthw",
    out: Array | None = None,
    used_before: bool = True,
    threads: int = 1,
) -> Array:
    """Gathers, resizes, crops, mirrors, colours, normalises and permutes the frames of a plan.

    Resampling within `plan.box` is the antialiased bilinear filter of torch's `interpolate(antialias=True)`.

    Args:
        frames: `Frames` (YUV or RGB), or an RGB array uint8 [F, H, W, 3].
        plan: The result of `plan`, on the same device as `frames`.
        size: (height, width) of the output in pixels.
        dtype: Type of the output. "uint8" values are rounded and clamped to 0..255.
        layout: Order of the output's axes, see Returns.
        out: Array of the output's shape and dtype to write to, such as the result of the last call. None allocates a
            new one.
        used_before: False if the memory of `out` is new. A CPU then writes it in another way, with the same bits.
        threads: Number of CPU threads. A GPU ignores it.

    Returns:
        [K, 3, T, height, width] ("kcthw") or [K, T, height, width, 3] ("kthwc"), of the same array library and on the
        same device as `frames`.

    Raises:
        VidsslError: An argument has a wrong type, shape or layout; a frame position is not in `frames`; a box or a
            colour is not finite; a box is empty; or `out` overlaps an input in memory. On a GPU the values in the
            plan's arrays are not checked.
    """
    frames = as_frames(frames, "frames")
    if not is_word(layout, ("kcthw", "kthwc")):
        raise VidsslError(f'layout={layout!r}: take "kcthw" or "kthwc"')
    if not is_word(dtype, ("float32", "float16", "bfloat16", "uint8")):
        raise VidsslError(f'dtype={dtype!r}: take "float32", "float16", "bfloat16" or "uint8"')
    if not is_whole(threads, 1, MAX_THREADS):
        raise VidsslError(f"threads={threads!r}: take 1..{MAX_THREADS}")
    if not is_size(size):
        raise VidsslError(f"size={size!r}: take positive (height, width), at most {MAX_SIDE}")
    if not isinstance(plan, Plan):
        raise VidsslError(f"plan is a {type(plan).__name__}: pass a Plan, as `plan` gives it")
    shown = tuple(getattr(plan.frame, "shape", ()))
    if len(shown) != 2:
        raise VidsslError(
            f"plan.frame is a {type(plan.frame).__name__} {list(shown)}: take int32 [K, T], as plan gives it"
        )
    slots, times = (int(n) for n in shown)
    shape = (slots, 3, times, *size) if layout == "kcthw" else (slots, times, *size, 3)
    used_before = used_before and out is not None
    out = empty_like(frames.data, shape, dtype) if out is None else out
    kind, has = str(getattr(out, "dtype", type(out).__name__)), tuple(getattr(out, "shape", ()))
    if has != shape or kind.rpartition(".")[2] != dtype:
        raise VidsslError(f"out is {kind} {list(has)}: it must be {dtype} {list(shape)}")
    with device_of(frames.data):
        kernels.assemble(
            frames.data,
            *frames.size,
            frames.space.to_rgb.ravel().tolist(),
            list(frames.space.chroma),
            plan.frame,
            plan.box,
            plan.flip,
            plan.color,
            out,
            layout == "kthwc",
            used_before,
            threads,
            stream=stream_of(frames.data),
        )
    return out
