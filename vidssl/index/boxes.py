"""Reads the structure of ISO base media files (MP4, MOV), as far as it must be checked before FFmpeg opens them.

Source: ISO 14496-12, 4.2 (boxes), 8.7.3 (sample sizes), 8.8.8 (runs of fragments).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from vidssl.video.packets import Member

# Boxes that contain boxes, on the path to the boxes that hold a number of samples.
_NESTED = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
# Offset of the number of samples in the content of a box. In stsz and stz2 it follows version, flags and a size; in
# trun it follows version and flags.
_COUNTED = {b"stsz": 8, b"stz2": 8, b"trun": 4}


class Box(NamedTuple):
    """One box.

    Attributes:
        kind: Four letters.
        start: First byte of its content, from the start of the file.
        end: End of its content, in bytes from the start of the file.
    """

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets. A box shorter than its own header is the last: none can follow it."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, kind, first = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, first = int.from_bytes(head[8:], "big"), 16
        elif length == 0:  # extends to the end
            length = end - start
        yield Box(kind, start + first, min(start + length, end))
        if length < first:
            return
        start += length


def lacks_moov(file: BinaryIO, place: Member) -> bool:
    """Return True if an ISO base media file ends before its moov box; False for any other file."""
    kinds: set[bytes] = set()
    for box in boxes(file, place.offset, place.offset + place.bytes):
        if not kinds and box.kind != b"ftyp":
            return False
        kinds.add(box.kind)
    return bool(kinds) and b"moov" not in kinds


def max_samples(file: BinaryIO, place: Member) -> int:
    """The largest number of samples that a table of an ISO base media file claims; 0 for any other file.

    FFmpeg allocates memory for each of them.
    """
    most = 0
    waiting = [(place.offset, place.offset + place.bytes)]
    while waiting:
        for box in boxes(file, *waiting.pop()):
            if box.kind in _NESTED:
                waiting.append((box.start, box.end))
            elif box.kind in _COUNTED:
                file.seek(box.start + _COUNTED[box.kind])
                most = max(most, int.from_bytes(file.read(4), "big"))
    return most
