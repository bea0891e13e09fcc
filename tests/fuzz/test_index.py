"""Damaged indices and journals: the right rows, or an error that names the file and the fix; never a crash, a hang or
another exception.

python -m tests.fuzz.harness tests.fuzz.test_index:index 0 2000
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.fuzz.harness import faults
from tests.fuzz.mutate import mutate
from vidssl.index import table as module
from vidssl.index.journal import _MARK as MARK
from vidssl.index.journal import Journal
from vidssl.index.schema import SCHEMA
from vidssl.index.table import VideoIndex
from vidssl.types import VidsslError
from vidssl.video.decode import Video


def rows(count: int) -> pa.Table:
    """Rows of all sorts: members of tars and files, nulls, bad ones, few and many packets and seek points."""
    rng = np.random.default_rng(1)
    out: list[dict[str, Any]] = []
    for at in range(count):
        frames = int(rng.integers(1, 90)) if at % 7 else 0
        member = at % 3 == 0
        points = [
            {
                "frame": n,
                "packet": n,
                "timestamp": 512 * n,
                "pos": n or None,
                "pts": n,
                "dts": None if at % 2 else n,
                "size": 99 + n,
            }
            for n in range(0, frames, 12)
        ]
        out.append(
            {
                "path": f"röws/{at:05}.mp4",
                "label": None if at % 11 == 0 else f"label {at % 5}",
                "group": None,
                "archive": f"shard{at % 4}.tar" if member else None,
                "offset": 512 * at if member else None,
                "status": "ok" if frames else "empty file",
                "note": "only a part" if at % 5 == 0 else "",
                "frames": frames,
                "start": None if at % 4 else at,
                "end": None if at % 4 else at + frames,
                "frame_rate": 25.0 if at % 2 else None,
                "regular": bool(at % 2),
                "width": 64,
                "height": 48,
                "coded_width": 64,
                "coded_height": 48,
                "rotation": 0,
                "mirror": False,
                "container": "mov,mp4",
                "stream": at % 2 if frames else None,
                "number": None if at % 5 else 1,
                "codec": "h264",
                "pixel_format": "yuv420p",
                "color_matrix": "smpte170m",
                "color_primaries": "unknown",
                "color_range": "tv",
                "chroma_x": 0.0,
                "chroma_y": 0.5,
                "bytes": 1000 + at,
                "mtime_ns": 10**18 + at,
                "packet": rng.permutation(frames).tolist() if at % 2 else None,
                "checksums": rng.integers(2**32, size=frames, dtype=np.uint32),
                "header_checksum": at if frames else None,
                "droppable": at % 5 > 0,
                "motion": rng.integers(0, 65281, max(frames - 1, 0)).tolist(),
                "points": points,
            }
        )
    return pa.Table.from_pylist(out, SCHEMA)


def text(video: Video) -> str:
    """All that a row says."""
    points, checksums = video.points, video.checksums
    return repr(
        (
            video.path,
            video.bytes,
            video.mtime_ns,
            video.member,
            video.container,
            video.codec,
            video.pixel_format,
            video.size,
            video.stored_size,
            video.packet.tolist(),
            video.droppable,
            checksums and (checksums.header, checksums.packet.tolist()),
            points.frame.tolist(),
            points.packet.tolist(),
            points.timestamp.tolist(),
            points.packet_id,
        )
    )


def row_of(index: VideoIndex, row: int) -> str:
    try:
        return text(index.video(row))
    except VidsslError as error:
        return str(error)


def column_of(name: str, index: VideoIndex) -> list[Any]:
    values: list[Any] = index.column(name).to_pylist()
    return values


def motion_at(row: int, index: VideoIndex) -> list[int]:
    values: list[int] = index.motion(row).tolist()
    return values


def row_at(row: int, index: VideoIndex) -> str:
    return row_of(index, row)


READS: dict[str, Callable[[VideoIndex], Any]] = {
    "length": len,
    "usable": lambda index: index.usable(20).tolist(),
    "labels": lambda index: (index.classes, index.labels.tolist()),
    "skipped": lambda index: index.skipped(20),
    "summary": lambda index: index.summary(20),
    **{f"column {name}": partial(column_of, name) for name in SCHEMA.names},
    "some": lambda index: index.select([250, 3, 77]).table.to_pylist(),
    "all": lambda index: zlib.crc32(repr(index.table.to_pylist()).encode()),
    **{f"row {row}": partial(row_at, row) for row in range(0, 300, 3)},
    **{f"motion {row}": partial(motion_at, row) for row in range(0, 300, 25)},
}


def index(folder: Path) -> Callable[[int], str]:
    module._BATCH = 64  # so that there are several record batches
    (folder / "videos").mkdir(exist_ok=True)
    path = folder / "input" / "index.arrow"
    path.parent.mkdir()
    VideoIndex(rows(300), folder / "videos").save(path)
    whole, good = path.read_bytes(), VideoIndex.load(path)
    right = {name: read(good) for name, read in READS.items()}

    def run(seed: int) -> str:
        # Half of the damage is where structure and checksums are; and half of the readers begin with rows, half with
        # columns.
        path.unlink()
        path.write_bytes(mutate(whole, seed, first=len(whole) * 3 // 4 if seed % 2 else 0))
        names = list(READS) if seed % 4 < 2 else list(READS)[::-1]
        try:
            found = VideoIndex.load(path)
        except VidsslError as error:
            return _named(error, path)
        for name in names:
            try:
                value = READS[name](found)
            except VidsslError as error:
                wrong = _named(error, path)
            else:
                wrong = (
                    ""
                    if value == right[name] or (name.startswith("row") and not _named(value, path))
                    else f"other values: {value!r:.200}"
                )
            if wrong:
                return f"{name}: {wrong}"
        return ""

    return run


def _named(error: object, path: Path) -> str:
    """What an error lacks."""
    return "" if str(path) in str(error) and "with `vidssl index " in str(error) else f"names no file or fix: {error}"


def journal(folder: Path) -> Callable[[int], str]:
    path, table = folder / "input" / "journal", rows(160)
    path.parent.mkdir()
    with Journal(path, SCHEMA) as book:
        book.add(table.to_batches(max_chunksize=8))
    whole = path.read_bytes()
    right = {row["path"]: row for row in Journal(path, SCHEMA).found.to_pylist()}
    assert len(right) == len(table)

    def run(seed: int) -> str:
        path.write_bytes(mutate(whole, seed))
        found = Journal(path, SCHEMA).found.to_pylist()
        return next((f"other values: {row!r:.200}" for row in found if row != right[row["path"]]), "")

    return run


def test_damaged_indices_are_right_or_refused(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_index:index", range(200), tmp_path) == []


def test_damaged_journals_give_their_intact_rows(tmp_path: Path) -> None:
    assert faults("tests.fuzz.test_index:journal", range(300), tmp_path) == []


def test_a_damaged_record_costs_only_its_own_rows(tmp_path: Path) -> None:
    path, table = tmp_path / "journal", rows(24)
    with Journal(path, SCHEMA) as book:
        book.add(table.to_batches(max_chunksize=8))
    whole = path.read_bytes()
    first = whole.index(MARK)
    second = whole.index(MARK, first + 1)
    for at in range(second + 500, second + (whole.index(MARK, second + 1) - second) // 2, 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        kept = Journal(path, SCHEMA).found
        assert kept.num_rows in (16, 24)
        assert kept.equals(pa.concat_tables([table[:8], table[16:]])) or kept.num_rows == 24
