"""Excerpts: segments of a video that are rows of their own.

A list gives start and end of an excerpt. A frame belongs to [start, end) by its presentation time: at the start it
does, at the end it does not. Times count from the earliest time of the file's video and sound, where players show 0:00.
They are compared as fractions, exactly. An excerpt may instead name frames, counted from 0 in a sequential decode.

The path of such a row is the file's path with a media fragment (W3C, Media Fragments URI 1.0, 4.2.1, which has the same
half-open interval): `P01.mp4#t=1.5,3` or, for frames, `P01.mp4#frames=90,180`. Its column `archive` is the file.

The file is decoded once, and all its excerpts are cut from what was found. Each row has what decoding its frames needs,
and nothing of the rest of the file: the packets and checksums from the seek point before its first frame to its last
frame. To all that reads an index, an excerpt is a video of its own, whose frames count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from vidssl.paths import printable
from vidssl.types import VidsslError
from vidssl.video.packets import DROPPABLE

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,18})?")
_CLOCK = re.compile(r"(?:(?P<hours>\d{1,4}):)?(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d{1,18})?)")
_FRAME = re.compile(r"\d{1,8}")
_FRAGMENT = re.compile(r"#(?P<unit>t|frames)=(?P<start>[\d.]*),(?P<end>[\d.]*)\Z")


class Excerpt(NamedTuple):
    """An interval of a video.

    Attributes:
        start: First time in seconds, or number of the first frame. None begins with the video.
        end: Time or number of the frame behind it. None ends with the video.
        unit: "t" for seconds, "frames" for numbers of frames.
    """

    start: Decimal | None
    end: Decimal | None
    unit: Literal["t", "frames"] = "t"

    def __str__(self) -> str:
        start, end = self.texts()
        return f"#{self.unit}={start},{end}"

    def texts(self) -> tuple[str, str]:
        """Start and end as a list states them; "" for None."""
        return _text(self.start), _text(self.end)


def _text(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


def parse_excerpt(start: str, end: str, unit: Literal["t", "frames"] = "t") -> Excerpt | None:
    """Parse what a list says about start and end.

    Args:
        start: Seconds ("1.5"), [H:]MM:SS ("00:00:01.50") or, if `unit` is "frames", a whole number. "" for none.
        end: As `start`.
        unit: What the texts state.

    Returns:
        The excerpt, or None if both texts are empty: the whole video.

    Raises:
        ValueError: A text is no time or number, or the excerpt is empty or reversed. The message says which.
    """
    values = [_parse(text.strip(), unit) for text in (start, end)]
    first, last = values
    if last is not None and (first or 0) >= last:
        what = "it is empty" if (first or 0) == last else "its end is before its start"
        raise ValueError(f"the segment {start.strip() or '0'} to {end.strip()} is refused: {what}")
    return None if first is None and last is None else Excerpt(first, last, unit)


def _parse(text: str, unit: str) -> Decimal | None:
    if not text:
        return None
    if (_FRAME if unit == "frames" else _SECONDS).fullmatch(text):
        return Decimal(text)
    found = None if unit == "frames" else _CLOCK.fullmatch(text)
    if found is None:
        fix = "a number of a frame, from 0" if unit == "frames" else "seconds (1.5) or [H:]MM:SS (00:00:01.50), from 0"
        negative = "; it must not be negative" if text.startswith("-") else ""
        raise ValueError(f"{text!r} is not {fix}{negative}")
    return Decimal(found["seconds"]) + 60 * int(found["minutes"]) + 3600 * int(found["hours"] or 0)


def excerpt_in(path: str, archive: str | None) -> Excerpt | None:
    """The excerpt that the path of a row states; None if the row is no excerpt of the file `archive`.

    Raises:
        VidsslError: The path states none that `parse_excerpt` gives: the index is damaged.
    """
    found = _FRAGMENT.search(path)
    if found is None or without_excerpt(path) != archive:
        return None
    try:
        return parse_excerpt(found["start"], found["end"], "frames" if found["unit"] == "frames" else "t")
    except ValueError as error:
        raise VidsslError(f"{printable(path)}: {error}: the index is damaged; index the videos again") from error


def without_excerpt(path: str) -> str:
    """The path of a row without what it states of an excerpt: that of its file."""
    return _FRAGMENT.sub("", path)


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """When the frames of a row are shown.

    Attributes:
        shown: Presentation time of each frame, in ticks. None where the file does not state it.
        tick: Seconds of a tick; None if the file has no times.
        zero: The time that players show as 0:00, in seconds.
    """

    shown: Sequence[int | None]
    tick: Fraction | None
    zero: Fraction

    def bound(self, time: Decimal) -> int:
        """The first tick that is not before a time."""
        assert self.tick is not None
        return ceil((Fraction(time) + self.zero) / self.tick)

    def refusal(self) -> str:
        """Why times of this file mean no frames; "" if they do."""
        known = [time for time in self.shown if time is not None]
        if self.tick is None or len(known) < len(self.shown):
            return "its frames have no times, so a segment in seconds has no frames; name it by frames"
        back = next((at for at in range(1, len(known)) if known[at] <= known[at - 1]), None)
        if back is not None:
            return (
                f"its times do not ascend (at frame {back}), so a segment in seconds is not certain; name it by frames"
            )
        return ""

    def seconds(self, frame: int) -> float:
        """When a frame is shown, where players show 0:00 at first."""
        time = self.shown[frame]
        assert time is not None
        assert self.tick is not None
        return float(time * self.tick - self.zero)


class Cutter:
    """Cuts the rows of a file's excerpts. What all of them need is found once: a long file has thousands of each.

    Args:
        row: What `scan` returns for the whole file, with its FrameTimes as "times".
    """

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def cut(self, excerpt: Excerpt | None) -> dict[str, Any]:
        """The row of an excerpt; of None, that of the whole file.

        Its `status` gives the reason if the file cannot be used, or has no frame in the interval.
        """
        row = self._row
        if row["status"] != "ok" or excerpt is None:
            return dict(row)
        first, end, reason, note = self._frames(excerpt) if excerpt.unit == "frames" else self._times(excerpt)
        if reason:
            empty: dict[str, Any] = {"frames": 0, "packet": [], "checksums": [], "points": [], "motion": []}
            return row | empty | {"status": reason, "start": None, "end": None, "header_checksum": None}
        around, base = self._around(first, end), row["start"] or 0
        return row | {
            "frames": end - first,
            "start": base + first,
            "end": base + end,
            "packet": row["packet"][around.begin : around.stop],
            "checksums": row["checksums"][around.checked : around.unchecked],
            "points": [
                {**point, "frame": point["frame"] - around.begin}
                for point in row["points"][around.point : int(np.searchsorted(self._starts, around.stop))]
            ],
            "motion": row["motion"][first : end - 1],
            "note": "; ".join(part for part in (row["note"], note) if part),
            "excerpt": {"lead": first - around.begin, "checked": around.checked},
        }

    def _frames(self, excerpt: Excerpt) -> tuple[int, int, str, str]:
        """(first frame of an excerpt, frame behind it, why it cannot be used, what is unusual about it)."""
        count, base = self._row["frames"], self._row["start"] or 0
        first = int(excerpt.start or 0) - base
        end = count if excerpt.end is None else int(excerpt.end) - base
        if first >= count or end <= 0:
            return 0, 0, f"its segment {str(excerpt)[1:]} is outside of frames {base}..{base + count - 1}", ""
        exist = end <= count and (first >= 0 or excerpt.start is None)
        note = "" if exist else f"of its segment, only frames {base}..{base + count - 1} exist"
        return max(first, 0), min(end, count), "", note

    def _times(self, excerpt: Excerpt) -> tuple[int, int, str, str]:
        """As `_frames`, for an excerpt in seconds."""
        if self._refusal:
            return 0, 0, self._refusal, ""
        count, times, shown = self._row["frames"], self._row["times"], self._shown
        first = 0 if excerpt.start is None else int(np.searchsorted(shown, times.bound(excerpt.start)))
        end = count if excerpt.end is None else int(np.searchsorted(shown, times.bound(excerpt.end)))
        named = f"{_text(excerpt.start) or 0} to {_text(excerpt.end) or 'the end'} s"
        seen = f"its frames are shown from {times.seconds(0):.3f} to {times.seconds(count - 1):.3f} s"
        if first >= end:
            return 0, 0, f"no frame in its segment from {named}: {seen}", ""
        step = int(shown[-1] - shown[-2]) if count > 1 else 0
        if excerpt.end is not None and times.bound(excerpt.end) > int(shown[-1]) + step + 1:
            return first, end, "", f"its segment from {named} is longer than the video: {seen}"
        return first, end, "", ""

    def _around(self, first: int, end: int) -> _Around:
        row, packets, starts, stop = self._row, self._packets, self._starts, end
        point = int(np.searchsorted(starts, first, side="right")) - 1
        if row["codec"] in DROPPABLE and not row["droppable"]:  # a damaged file is decoded up to the next seek point
            stop = int(min(starts[starts >= stop], default=row["frames"]))
        checked, last = int(row["points"][point]["packet"]), int(packets[int(starts[point]) : stop].max())
        among = np.flatnonzero((packets >= checked) & (packets <= last))  # also frames shown before or after it
        begin, stop = min(int(among[0]), int(starts[point])), max(int(among[-1]) + 1, stop)
        later = packets[packets > packets[begin:stop].max()]
        # Packets without a frame belong to the one before them.
        unchecked = int(later.min()) if len(later) else len(row["checksums"])
        return _Around(begin, stop, point, checked, unchecked)

    @cached_property
    def _packets(self) -> npt.NDArray[np.int64]:
        return np.asarray(self._row["packet"], np.int64)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        """Frame of each seek point."""
        return np.array([point["frame"] for point in self._row["points"]], np.int64)

    @cached_property
    def _refusal(self) -> str:
        return str(self._row["times"].refusal())

    @cached_property
    def _shown(self) -> npt.NDArray[np.int64]:
        return np.asarray(self._row["times"].shown, np.int64)


class _Around(NamedTuple):
    """What an excerpt needs of its file.

    Attributes:
        begin: First frame of those around it.
        stop: Frame behind them.
        point: Number of the seek point before it.
        checked: Number of the first packet that is read.
        unchecked: Number of the packet behind the last one that is read.
    """

    begin: int
    stop: int
    point: int
    checked: int
    unchecked: int
