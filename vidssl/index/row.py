"""row: what decoding needs of a row of the index. A row that asks for more memory than any file can is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vidssl.video.color import color_space, rotate_chroma
from vidssl.video.decode import Video
from vidssl.video.packets import PIXELS, DecodeError, Member, PacketId, SeekPoints

FRAMES = 2**24  # of one file, at most: a week of video


def member_of(row: dict[str, Any]) -> Member | None:
    return None if row["offset"] is None else Member(row["offset"], row["bytes"])


def make_video(path: Path, row: dict[str, Any]) -> Video:
    """What decoding needs, from a row of the index (which may still be without frames and points)."""
    stored = (row["coded_height"], row["coded_width"])
    _check_row(path, row)
    chroma = rotate_chroma((row["chroma_x"], row["chroma_y"]), stored, row["rotation"], row["mirror"])
    points = row.get("points") or []
    return Video(
        path=path,
        bytes=row["bytes"],
        mtime_ns=row["mtime_ns"],
        member=member_of(row),
        container=row["container"],
        codec=row["codec"],
        pixel_format=row["pixel_format"],
        full_range=row["color_range"] == "pc",
        size=(row["height"], row["width"]),
        stored_size=stored,
        rotation=row["rotation"],
        mirror=row["mirror"],
        space=color_space(row["color_matrix"], row["color_range"], chroma, row["color_primaries"]),
        packet=np.asarray(row["packet"], np.int32),
        points=make_points(
            [(p["frame"], p["packet"], p["timestamp"], (p["pos"], p["pts"], p["dts"], p["size"])) for p in points]
        ),
    )


def _check_row(path: Path, row: dict[str, Any]) -> None:
    """Raises DecodeError where a row asks for more memory than any file that was scanned can: its index is damaged, or
    made up.
    """
    packet, points, sides = np.asarray(row["packet"], np.int32), row.get("points") or [], (row["width"], row["height"])
    again = "the index is damaged; index it anew"
    if row["frames"] > min(FRAMES, row["bytes"]):
        raise DecodeError(f"{path}: {row['frames']} frames in {row['bytes']} bytes: {again}")
    if len(packet) and not 0 <= packet.min() <= packet.max() < row["bytes"]:
        raise DecodeError(f"{path}: packets {packet.min()}..{packet.max()} in {row['bytes']} bytes: {again}")
    if len(points) > max(row["frames"], 1):
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
    """SeekPoints from (frame, packet, timestamp, landing)."""
    column = list(zip(*points, strict=True)) if points else [(), (), (), ()]
    numbers = [np.asarray(column[at], np.int64) for at in range(3)]
    return SeekPoints(frame=numbers[0], packet=numbers[1], timestamp=numbers[2], packet_id=tuple(column[3]))
