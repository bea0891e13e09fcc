"""`--data`: a folder of videos, or an index of one."""

from __future__ import annotations

from pathlib import Path

from vidssl.stages.index import VideoIndex


def open_data(data: Path, out: Path | None) -> VideoIndex:
    """An index as named; or that of a folder, kept in `out` when there is one and taken from there the next time."""
    if data.suffix == ".parquet":
        return VideoIndex.load(data)
    cached = out / "index.parquet" if out is not None else None
    if cached is not None and cached.is_file():
        found = VideoIndex.load(cached)
        if found.root == data.resolve():
            return found
    built = VideoIndex.build(data)
    if cached is not None and not cached.exists():  # never in place of another folder's
        built.save(cached)
    return built
