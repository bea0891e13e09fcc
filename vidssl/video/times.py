"""Says when the frames of an AVI file are shown.

AVI stores no times: each chunk of the stream lasts one tick, and an empty chunk shows the frame before it once more.
FFmpeg gives each packet its chunk's number as decoding time. The presentation times that it guesses are wrong for
B-frames, above all for those that share a packet with another frame. Frames are shown in the order of the chunks, so
the n-th decoding time, in ascending order, is that of the n-th frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TIMELESS = "avi"  # FFmpeg's name of the container format


def chunk_times(dts: Sequence[int | None], packet: Iterable[int]) -> list[int] | None:
    """Times of frames in presentation order, in ticks of the stream's time base; None if they are not known.

    Args:
        dts: Decoding time of each packet of the file.
        packet: Number of each frame's packet.
    """
    times = [dts[number] for number in packet]
    known = [time for time in times if time is not None]
    return sorted(known) if len(known) == len(times) else None
