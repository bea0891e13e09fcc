"""Seeded damage to the payloads of packets, written into an undamaged container: only the decoder can notice it."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av

from tests.clips import make_clip, make_packed_avi
from tests.fuzz.containers import EXTREME

_QUICK = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=12:bframes=2"}
# (name, codec, options of make_clip)
STREAMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("h264.mp4", "libx264", {"bframes": 2}),
    ("h264.mkv", "libx264", {"bframes": 0}),
    ("h264.ts", "libx264", {"bframes": 1}),
    ("hevc.mp4", "libx265", {"options": _QUICK}),
    ("mpeg4.avi", "mpeg4", {"bframes": 0}),
    ("mpeg4.mp4", "mpeg4", {"bframes": 2}),
    ("mpeg2.ts", "mpeg2video", {"bframes": 2}),
    ("vp8.webm", "libvpx", {"options": {"deadline": "realtime"}}),
    ("vp8_alt.webm", "libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "8", "cpu-used": "8"}}),
    ("vp9.webm", "libvpx-vp9", {"options": {"cpu-used": "8", "deadline": "realtime"}}),
    ("mjpeg.mov", "mjpeg", {"form": "yuvj420p"}),
)


class Coded(NamedTuple):
    """A packet: its bytes, and what its container says of it."""

    data: bytes
    pts: int | None
    dts: int | None
    key: bool
    unit: Fraction


class Stream(NamedTuple):
    """A clip, and its packets in the order of the file."""

    path: Path
    packets: list[Coded]


def streams(folder: Path) -> list[Stream]:
    paths = [make_clip(folder / name, codec, frames=36, gop=12, **how) for name, codec, how in STREAMS]
    paths.append(make_packed_avi(folder / "packed.avi", frames=36, gop=12))
    return [Stream(path, packets_of(path)) for path in paths]


def packets_of(path: Path) -> list[Coded]:
    with av.open(str(path)) as source:
        return [
            Coded(bytes(packet), packet.pts, packet.dts, packet.is_keyframe, packet.time_base)
            for packet in source.demux(video=0)
            if packet.size
        ]


def write(stream: Stream, packets: list[Coded], path: Path) -> None:
    """Writes packets into a container like the stream's.

    Raises:
        av.FFmpegError, ValueError: The container refuses them.
    """
    with av.open(str(stream.path)) as source, av.open(str(path), "w") as out:
        target = out.add_stream_from_template(source.streams.video[0])
        for coded in packets:
            packet = av.Packet(coded.data)
            packet.stream, packet.is_keyframe, packet.time_base = target, coded.key, coded.unit
            packet.pts, packet.dts = coded.pts, coded.dts
            out.mux(packet)


def overwritten(data: bytes, rng: random.Random) -> bytes:
    """The same number of bytes, with one fault."""
    out = bytearray(data)
    # The first bytes hold the headers of a picture.
    at = min(int(rng.expovariate(1 / rng.choice((8, len(out) / 2)))), len(out) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        out[at] = rng.randrange(256)
    elif kind == 1:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        width = rng.choice((1, 2, 4))
        value = (rng.choice(EXTREME) & (1 << 8 * width) - 1).to_bytes(width, "big")
        out[at : at + width] = value[: len(out) - at]
    else:
        end = min(len(out), at + rng.choice((4, 16, 200)))
        out[at:end] = rng.randbytes(end - at)
    return bytes(out)


def damaged(packets: list[Coded], seed: int) -> list[Coded]:
    """One to four packets changed, cut, dropped, repeated or exchanged."""
    rng = random.Random(seed)
    out = list(packets)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(out))
        kind = rng.randrange(8)
        if kind < 4:
            out[at] = out[at]._replace(data=overwritten(out[at].data, rng))
        elif kind == 4:
            out[at] = out[at]._replace(data=out[at].data[: rng.randrange(1, len(out[at].data) + 1)])
        elif kind == 5 and len(out) > 2:
            del out[at]
        elif kind == 6:
            other = rng.randrange(len(out))
            out[at] = out[at]._replace(data=out[other].data)
        else:
            out[at] = out[at]._replace(data=out[at].data + rng.randbytes(rng.choice((1, 40))))
    return out
