"""`--data`: a folder of videos, or an index of one."""

from __future__ import annotations

from pathlib import Path

from vidssl.stages.index import VideoIndex
from vidssl.types import VidsslError


def open_data(data: Path, out: Path | None) -> VideoIndex:
    """An index as named; or that of a folder, kept in `out` when there is one and taken from there as long as it tells of these files."""
    if data.suffix == ".parquet":
        return VideoIndex.load(data)
    if data.exists() and not data.is_dir():
        raise VidsslError(f"data={str(data)!r}: neither a folder of videos nor an index (.parquet); name one of these")
    cached = out / "index.parquet" if out is not None else None
    if cached is not None and cached.is_file() and data.is_dir():
        found = VideoIndex.load(cached, root=data)
        if found.is_current():
            return found
    built = VideoIndex.build(data)
    if cached is not None and not cached.exists():  # never in place of another folder's
        built.save(cached)
    return built
