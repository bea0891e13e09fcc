"""Converts a row of the index to a `Video`.

A row that asks for more memory than any real file can need is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vidssl.video.color import color_space, rotate_chroma
from vidssl.video.decode import Around, Video
from vidssl.video.packets import PIXELS, Checksums, DecodeError, Member, PacketId, SeekPoints

FRAMES = 2**24  # most frames of one file: about a week of video


def member_of(row: dict[str, Any]) -> Member | None:
    """The position of a row's video in its tar, or None for a file."""
    return None if row["offset"] is None else Member(row["offset"], row["bytes"])


def make_video(path: Path, row: dict[str, Any]) -> Video:
    """Convert a row of the index, which may still lack frames, points and checksums.

    Args:
        path: The file to open.
        row: Values by the names of the columns.

    Raises:
        DecodeError: The row asks for more memory than any real file can need.
    """
    stored = (row["coded_height"], row["coded_width"])
    _check_row(path, row)
    chroma = rotate_chroma((row["chroma_x"], row["chroma_y"]), stored, row["rotation"], row["mirror"])
    points, header = row.get("points") or [], row.get("header_checksum")
    packet, excerpt = np.asarray(row["packet"], np.int32), row.get("excerpt")
    lead = 0 if excerpt is None else excerpt["lead"]
    around = None if excerpt is None else Around(packet, lead)
    return Video(
        path=path,
        bytes=row["bytes"],
        mtime_ns=row["mtime_ns"],
        member=member_of(row),
        stream=row["stream"],
        container=row["container"],
        codec=row["codec"],
        pixel_format=row["pixel_format"],
        full_range=row["color_range"] == "pc",
        size=(row["height"], row["width"]),
        stored_size=stored,
        rotation=row["rotation"],
        mirror=row["mirror"],
        space=color_space(row["color_matrix"], row["color_range"], chroma, row["color_primaries"]),
        packet=packet if around is None else packet[lead : lead + row["frames"]],
        points=make_points(
            [
                (p["frame"] - lead, p["packet"], p["timestamp"], (p["pos"], p["pts"], p["dts"], p["size"]))
                for p in points
            ]
        ),
        droppable=bool(row.get("droppable")),
        checksums=None
        if header is None
        else Checksums(
            header=header,
            packet=np.ascontiguousarray(row["checksums"], np.uint32),
            first=0 if excerpt is None else excerpt["checked"],
        ),
        around=around,
    )


def _check_row(path: Path, row: dict[str, Any]) -> None:
    """Raise DecodeError if a row asks for more memory than a scanned file can need: its index is damaged or forged."""
    packet, points, sides = np.asarray(row["packet"], np.int32), row.get("points") or [], (row["width"], row["height"])
    excerpt = row.get("excerpt")
    part = excerpt or {"lead": 0, "checked": 0}
    again = "the index is damaged; index the file again"
    if row["stream"] is None:
        raise DecodeError(f"{path}: no stream is named: {again}")
    if row["frames"] > min(FRAMES, row["bytes"]):
        raise DecodeError(f"{path}: {row['frames']} frames in {row['bytes']} bytes: {again}")
    if len(packet) and not 0 <= packet.min() <= packet.max() < row["bytes"]:
        raise DecodeError(f"{path}: packets {packet.min()}..{packet.max()} in {row['bytes']} bytes: {again}")
    if (
        None in part.values()
        or min(part.values()) < 0
        or max(part.values()) > row["bytes"]
        or (excerpt is not None and not part["lead"] + row["frames"] <= len(packet) <= row["bytes"])
    ):
        raise DecodeError(f"{path}: {row['frames']} frames at {part} of {len(packet)}: {again}")
    known = part["checked"] + len(row["checksums"])
    if row["frames"] and (row.get("header_checksum") is None or packet.max() >= known):
        raise DecodeError(f"{path}: {len(row['checksums'])} checksums for packets up to {packet.max()}: {again}")
    if len(row["checksums"]) > row["bytes"]:
        raise DecodeError(f"{path}: checksums of {len(row['checksums'])} packets in {row['bytes']} bytes: {again}")
    if len(points) > max(row["frames"], len(packet), 1):
        raise DecodeError(f"{path}: {len(points)} seek points for {row['frames']} frames: {again}")
    if (
        sorted(sides) != sorted((row["coded_width"], row["coded_height"]))
        or min(sides) < 1
        or sides[0] * sides[1] > PIXELS
    ):
        stored = f"{row['coded_width']}x{row['coded_height']}"
        raise DecodeError(
            f"{path}: pictures of {sides[0]}x{sides[1]}, stored as {stored}, of at most {PIXELS} pixels: {again}"
        )


def make_points(points: list[tuple[int, int, int, PacketId]]) -> SeekPoints:
    """SeekPoints from tuples (frame, packet, timestamp, packet identity)."""
    column = list(zip(*points, strict=True)) if points else [(), (), (), ()]
    numbers = [np.asarray(column[at], np.int64) for at in range(3)]
    return SeekPoints(frame=numbers[0], packet=numbers[1], timestamp=numbers[2], packet_id=tuple(column[3]))
