"""`--data`: a folder of videos, a list of them, or an index."""

from __future__ import annotations

from pathlib import Path

from vidssl.stages.find import LISTS
from vidssl.stages.index import VideoIndex
from vidssl.types import VidsslError


def open_data(data: Path, out: Path | None) -> VideoIndex:
    """An index as named; or that of a folder or list, kept in `out` if there is one, and taken from there as long as it is current."""
    if data.suffix == ".arrow":
        return VideoIndex.load(data)
    if data.is_file() and data.suffix not in LISTS:
        raise VidsslError(
            f"data={str(data)!r}: neither a folder of videos, nor a list ({', '.join(LISTS)}), nor an index (.arrow); name one"
        )
    cached = out / "index.arrow" if out is not None else None
    known: VideoIndex | None = None
    if cached is not None and cached.is_file() and data.exists():
        known = VideoIndex.load(cached, root=data if data.is_dir() else data.parent)
        if known.is_current():
            return known
    built = VideoIndex.build(data, known=known)
    if cached is not None and not cached.exists():  # never in place of another folder's
        built.save(cached)
    return built
