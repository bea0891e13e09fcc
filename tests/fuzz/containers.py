"""Seeded damage to containers: bytes, sizes, and whole parts of small clips of many kinds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.clips import make_clip

# (name, codec, options of make_clip)
KINDS: tuple[Any, ...] = (
    ("a.mp4", "libx264", {}),
    ("b.mkv", "libx264", {}),
    ("c.avi", "mpeg4", {}),
    ("d.webm", "libvpx-vp9", {}),
    ("e.ts", "mpeg2video", {}),
    ("f.webm", "libvpx", {}),
    ("g.mov", "mjpeg", {"form": "yuvj420p"}),
    ("h.flv", "flv1", {}),
    ("i.mpg", "mpeg1video", {}),
    ("j.mkv", "ffv1", {}),
    ("k.mxf", "mpeg2video", {}),
    ("l.mp4", "libx265", {}),
    ("m.ts", "libx264", {}),
    ("n.mjpeg", "mjpeg", {"form": "yuvj420p"}),
)
EXTREME = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def seeds(folder: Path) -> list[Path]:
    """One small clip of each kind that this FFmpeg can write."""
    quick = {"libx265": {"x265-params": "log-level=none", "preset": "ultrafast"}, "libvpx-vp9": {"cpu-used": "8"}}
    return [
        make_clip(folder / name, codec, frames=28, gop=9, options=quick.get(codec), **how) for name, codec, how in KINDS
    ]


def damaged(data: bytes, seed: int) -> bytes:
    """The same bytes with a few faults, most of them in the first kilobytes, where headers are."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        at = min(int(rng.expovariate(1 / rng.choice((60, 600, len(out) / 2)))), len(out) - 1)
        if rng.random() < 0.25:  # an MP4 keeps its headers at the end
            at = len(out) - 1 - at
        kind = rng.randrange(6)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:  # a size or a count
            width = rng.choice((2, 4, 8))
            value = rng.choice(EXTREME) & (1 << 8 * width) - 1
            out[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
        elif kind == 3:
            del out[at : at + rng.choice((1, 4, 64, 1024))]
        elif kind == 4:
            out[at:at] = out[at : at + rng.choice((8, 64, 512))] * rng.choice((1, 3))
        else:
            end = min(len(out), at + rng.choice((4, 16, 200)))
            out[at:end] = rng.choice((b"\0", b"\xff")) * (end - at)
        if not out:
            out = bytearray(b"\0")
    return bytes(out)
