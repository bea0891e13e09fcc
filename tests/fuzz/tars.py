"""Seeded hostile tars: headers that lie, loop, nest and ask for memory, around a few honest members."""

from __future__ import annotations

import io
import random

# Sizes that a header may claim: beyond the file, negative, beyond 64 bits.
_SIZES = (0, 1, 511, 512, 2**20 + 1, 2**31, 2**33, 2**62, 2**63, -1, -512, -1024, -(2**40), -(2**63), 2**70)
_TYPES = b"0\0127SxgLKVDNZ5"
_RECORDS = (
    b"20 path=a/../b.mp4\n\n",
    b"28 GNU.sparse.size=99999999\n",
    b"17 size=99999999\n",
    b"0 x=y\n",
    b"999999999 path=x\n",
    b"25 GNU.sparse.major=1\n25 GNU.sparse.minor=0\n30 GNU.sparse.realsize=9999999\n",
    b"26 GNU.sparse.map=0,1,2,3\n",
    b"12 size=-99\n",
    b"19 size=1e400000\n",
    b"16 mtime=9e999\n",
    b"18 path=\xff\xfe.mp4\n",
    b"=\n",
    b"x" * 600,
)


def header(name: bytes, size: int, kind: bytes = b"0", *, prefix: bytes = b"") -> bytearray:
    """A header whose checksum is right, whatever it says. Sizes that octal digits cannot say are in base 256, as GNU
    tar writes them.
    """
    out = bytearray(512)
    out[: min(len(name), 100)] = name[:100]
    out[100:108], out[108:116], out[116:124], out[136:148] = b"0000644\0", b"0000000\0", b"0000000\0", b"00000000000\0"
    if 0 <= size < 8**11:
        out[124:136] = b"%011o\0" % size
    else:
        out[124] = 0x80 if size >= 0 else 0xFF
        out[125:136] = (size & (1 << 88) - 1).to_bytes(11, "big")
    out[156:157], out[257:265], out[345 : 345 + len(prefix)] = kind, b"ustar\x0000", prefix
    return seal(out)


def seal(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def hostile(video: bytes, seed: int) -> bytes:
    """A tar of a few members, some of them honest."""
    rng = random.Random(seed)
    out = io.BytesIO()
    for number in range(rng.randrange(1, 6)):
        name = f"s{number}".encode() + rng.choice((b".mp4", b".mp4", b".json", b".cls", b".txt"))
        data = rng.choice((video, video[:100], b"run", b'{"label": "run"}', b"[" * 5000, b'{"label": "\\ud800"}', b""))
        if name.endswith(b"mp4") and rng.random() < 0.7:
            data = video
        kind = rng.randrange(7)
        if kind < 2:
            out.write(header(name, len(data)) + padded(data))
        elif kind == 2:  # a size that is not so
            out.write(header(name, rng.choice(_SIZES), bytes([rng.choice(_TYPES)])) + padded(data))
        elif kind == 3:  # records of a pax header, or a long name, before a member
            record = b"".join(rng.choice(_RECORDS) for _ in range(rng.randrange(1, 4)))
            size = rng.choice((len(record), rng.choice(_SIZES)))
            out.write(header(b"pax", size, rng.choice((b"x", b"g", b"L", b"K", b"X"))) + padded(record))
            out.write(header(name, len(data)) + padded(data))
        elif kind == 4:  # GNU's old sparse members, whose map goes on in more blocks
            block = header(name, len(data), b"S")
            for at in range(4):
                block[386 + 24 * at : 410 + 24 * at] = b"%011o\0%011o\0" % (rng.randrange(8**11), rng.randrange(8**11))
            block[482] = rng.randrange(2)
            out.write(seal(block) + padded(data))
        elif kind == 5:  # a chain of long names
            out.write((header(b"long", 4, b"L") + padded(b"name")) * rng.choice((2, 2000)))
        else:  # a block of noise, or a header with one byte changed
            block = header(name, len(data))
            block[rng.randrange(512)] = rng.randrange(256)
            out.write((seal(block) if rng.random() < 0.5 else bytes(block)) + padded(data))
    if rng.random() < 0.7:
        out.write(bytes(1024))
    whole = out.getvalue()
    return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.2 else whole
