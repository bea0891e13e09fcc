"""A WebM file whose sizes were changed behind the index's back: DALI's decoder, which dies of that, is not given it.

python -m tests.fuzz.harness tests.fuzz.test_webm:webm 0 100
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tests.clips import make_clip, waves
from tests.fuzz.harness import faults
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.loader import Loader

# What a width stands behind, and how far: a key frame's start code (VP8) or sync code (VP9), and PixelWidth of two
# bytes.
_MARKS = {"libvpx": (b"\x9d\x01\x2a", 3), "libvpx-vp9": (b"\x49\x83\x42", 4)}
_PIXEL_WIDTH = (b"\xb0\x82", 2)
_COLORS = 1.5 / 255  # by which DALI's conversion of colours differs, in the mean; white is 1
_SIZE = (48, 320)  # so that PixelWidth has two bytes
SPEC = PlanSpec(
    arrangements=np.array([[[0, 1, 2, 3]]]),
    labels=np.zeros(1, np.int64),
    bases=1,
    length=4,
    augment=Augment(resize=(24, 32), crop=(16, 16), flip=0.0),
)


def webm(folder: Path) -> Callable[[int], str]:
    """Even seeds are VP8, odd ones VP9; the rest of a seed says which width is changed, and to what."""
    made = {}
    for codec in _MARKS:
        root = folder / codec
        root.mkdir(exist_ok=True)
        for name in "ab":
            make_clip(
                root / f"{name}.webm", codec, frames=12, size=_SIZE, gop=6, options={"deadline": "realtime"}, show=waves
            )
        made[codec] = (VideoIndex.build(root, progress=False), (root / "a.webm").read_bytes())

    def run(seed: int) -> str:
        codec = list(_MARKS)[seed % 2]
        index, whole = made[codec]
        rng = np.random.default_rng(seed)
        mark, after = _PIXEL_WIDTH if seed // 2 % 3 == 0 else _MARKS[codec]
        places = [at for at in range(len(whole)) if whole.startswith(mark, at)][: 1 if mark == _PIXEL_WIDTH[0] else 2]
        at = places[seed // 6 % len(places)] + after
        data = bytearray(whole)
        data[at] ^= int(rng.integers(1, 256))
        video = index.video(0)
        video.path.write_bytes(data)
        os.utime(video.path, ns=(video.mtime_ns, video.mtime_ns))
        shown = []
        for decode in ("dali", "cpu"):
            with Loader(
                index,
                SPEC,
                batch_size=1,
                device="cpu",
                decode=decode,
                engine="dali",
                workers=1,
                max_corrupt=1.0,
                seed=seed,
            ) as loader:
                batches = [batch for _ in range(2) for batch in loader]
                shown.append(
                    [torch.stack([getattr(batch, name) for batch in batches]) for name in ("video", "frame", "clips")]
                )
        (rows, frame, clips), (rows_cpu, frame_cpu, clips_cpu) = shown
        same = ((rows == rows_cpu) & (frame == frame_cpu).all(dim=(1, 2, 3))[:, None])[:, 0]
        if (rows[~same] == 0).any():  # a segment may hold a changed packet that the CPU does not need; it is refused
            return "frames of the changed video that the CPU does not give"
        close = not same.any() or (clips - clips_cpu)[same].abs().mean() < _COLORS
        return "" if close else "other frames than on the CPU"

    return run


def test_a_size_that_is_not_the_indexs_is_decoded_on_the_cpu(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_webm:webm", range(12), tmp_path, limit_s=60) == []
