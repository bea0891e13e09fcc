"""boxes: the structure of ISO base media files (MP4, MOV), as far as it must be known before FFmpeg opens them.

Source: ISO 14496-12, 4.2 (boxes), 8.7.3 (sample sizes), 8.8.8 (runs of fragments).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from vidssl.video.packets import Member

# Boxes that are made of boxes, on the way to those that say how many samples there are.
_NESTED = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
# Where the number of samples stands in a box, behind its head: in stsz and stz2 a size comes first, in trun the flags
# do.
_COUNTED = {b"stsz": 8, b"stz2": 8, b"trun": 4}


class Box(NamedTuple):
    """kind: four letters. start, end: of its content, in bytes from the start of the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of a file. One that is shorter than its own head is the last: none can be found
    behind it.
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, kind, first = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, first = int.from_bytes(head[8:], "big"), 16
        elif length == 0:  # up to the end
            length = end - start
        yield Box(kind, start + first, min(start + length, end))
        if length < first:
            return
        start += length


def lacks_moov(file: BinaryIO, place: Member) -> bool:
    """Whether an ISO base media file ends before its moov box; False for any other file."""
    kinds: set[bytes] = set()
    for box in boxes(file, place.offset, place.offset + place.bytes):
        if not kinds and box.kind != b"ftyp":
            return False
        kinds.add(box.kind)
    return bool(kinds) and b"moov" not in kinds


def max_samples(file: BinaryIO, place: Member) -> int:
    """The most samples that a table of an ISO base media file claims; 0 for any other file. FFmpeg takes memory for
    each of them.
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
