"""Finds the pictures of a folder that are the frames of a video: `img_00001.jpg`, `img_00002.jpg`, ..."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vidssl.index.kinds import PICTURES
from vidssl.types import VidsslError
from vidssl.video.pictures import IMAGE2, LAST, Numbering

FRAME_RATE = 25.0  # of a folder of frames, which has none of its own: what FFmpeg takes too
FASTEST = 1000  # frames per second

SERIES = 4  # numbered pictures, at least, that are taken for the frames of a video where nothing else says so
_SHOWN = 3  # numberings that a reason names


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames in a folder.

    Attributes:
        first: Name of the first picture; "" if the folder cannot be used.
        names: Names of all pictures that belong to a numbering.
        refused: Why the folder cannot be used; "" if it can.
    """

    first: str
    names: frozenset[str]
    refused: str


def find_frames(folder: Path, names: Iterable[str], only: str = "*", *, least: int = SERIES) -> Frames | None:
    """Find the frames among the names of a folder.

    Args:
        folder: The folder.
        names: Names of files in it.
        only: Pattern of the names of frames, such as "img_*" (as in a shell).
        least: Pictures of one numbering, at least; others are not taken for frames.

    Returns:
        The frames; None if the folder has none.
    """
    series: dict[tuple[str, str], dict[str, Numbering]] = {}
    for name in names:
        if os.path.splitext(name)[1].lower() in PICTURES and not name.startswith(".") and fnmatchcase(name, only):
            numbering = Numbering.of(folder / name)
            if numbering is not None:
                series.setdefault((numbering.before, numbering.ending), {})[name] = numbering
    series = {key: found for key, found in series.items() if len(found) >= least}
    if not series:
        return None
    every = frozenset(name for found in series.values() for name in found)
    if len(series) > 1:
        several = sorted((-len(found), f"{before}*{ending}") for (before, ending), found in series.items())
        shown = ", ".join(f"{pattern} ({-count})" for count, pattern in several[:_SHOWN])
        more = f" and {len(several) - _SHOWN} more" if len(several) > _SHOWN else ""
        refused = (
            f"{len(several)} numberings of pictures in one folder: {shown}{more}; name the frames: "
            f"`vidssl index DATA --frames '{several[0][1]}' --out FILE.arrow`"
        )
        return Frames(first="", names=every, refused=refused)
    (found,) = series.values()
    first = min(found.values(), key=lambda one: (one.first, -one.digits))
    refused = _gap(first, found)
    return Frames(first="" if refused else first.name(0), names=every, refused=refused)


def _gap(first: Numbering, found: dict[str, Numbering]) -> str:
    """Why these pictures are not numbered one after the other; "" if they are."""
    last = max(one.first for one in found.values())
    if last > LAST:
        return f"its pictures have numbers up to {last}, but {LAST} is the largest; number them anew"
    frame = 0
    while first.name(frame) in found:
        frame += 1
    if frame == len(found):
        return ""
    regular = {first.name(at) for at in range(frame)}
    other, after = min((one.first, name) for name, one in found.items() if name not in regular)
    if other <= first.first + frame:
        return f"{after} is numbered in another way than {first.name(0)}; rename it, or move it elsewhere"
    missing = (
        f"{first.name(frame)} is missing"
        if other == first.first + frame + 1
        else (f"{first.name(frame)} to {first.name(other - first.first - 1)} are missing")
    )
    return f"{missing} before {after}; extract the frames again, or number the pictures without a gap"


def size_of(path: Path, size: int, *, frames: bool) -> int:
    """Size of a file or, if `frames`, of all pictures of the folder of frames whose first picture is `path`.

    size: Of the file itself.
    """
    numbering = Numbering.of(path) if frames else None
    return size if numbering is None else numbering.bytes()


def check_rate(where: str, rate: float) -> None:
    """Raise VidsslError if a frame rate is out of range."""
    if not (isinstance(rate, Real) and 0 < rate <= FASTEST):
        raise VidsslError(f"{where}: frame_rate={rate!r}: pass frames per second, above 0 and at most {FASTEST}")


def with_rate(table: pa.Table, rate: float) -> pa.Table:
    """The rows of an index, with the frame rate of those that are folders of frames."""
    pictures = pc.and_(pc.equal(table["container"], IMAGE2), pc.is_valid(table["archive"]))
    rates = pc.if_else(pc.fill_null(pictures, False), float(rate), table["frame_rate"])
    return table.set_column(table.schema.get_field_index("frame_rate"), "frame_rate", rates)
