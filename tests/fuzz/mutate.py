"""mutate: seeded damage to bytes. A seed always gives the same damage, so that a report needs to name only the seed."""

from __future__ import annotations

import numpy as np

KINDS = ("flip", "byte", "zeros", "ones", "truncate", "duplicate", "insert")


def mutate(data: bytes, seed: int, *, first: int = 0) -> bytes:
    """`data` with one to three damages: a flipped bit, a byte of any value, a range of 0x00 or 0xff, an end that is
    missing, a range that is there twice, bytes that do not belong there. Most ranges are short. first: bytes before it
    are left alone.
    """
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if len(out) <= first:
            break
        at = int(rng.integers(first, len(out)))
        length = min(int(2 ** rng.uniform(0, 12)), len(out) - at)
        kind = KINDS[int(rng.integers(len(KINDS)))]
        if kind == "flip":
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == "byte":
            out[at] = int(rng.integers(256))
        elif kind in ("zeros", "ones"):
            out[at : at + length] = (b"\0" if kind == "zeros" else b"\xff") * length
        elif kind == "truncate":
            del out[at:]
        elif kind == "duplicate":
            out[at:at] = out[at : at + length]
        else:
            out[at:at] = rng.bytes(length)
    return bytes(out)
