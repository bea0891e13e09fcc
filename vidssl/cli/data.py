"""`--data`: a folder of videos, a list of them, or an index."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vidssl.stages.find import LISTS
from vidssl.stages.index import VideoIndex
from vidssl.types import VidsslError


def open_data(data: Path, out: Path | None) -> VideoIndex:
    """An index as named; or that of a folder or list as it is now: rows of files that have not changed are taken from the index kept in
    `out`, which is made if there is none."""
    if data.suffix == ".arrow":
        return VideoIndex.load(data)
    _check(data)
    cached = out / "index.arrow" if out is not None else None
    kept = cached is not None and cached.is_file() and data.exists()
    built = VideoIndex.build(data, known=VideoIndex.load(cached, root=_root(data)) if cached is not None and kept else None)
    if cached is not None and not cached.exists():  # never in place of another folder's
        built.save(cached)
    return built


def open_kept(data: Path, run: Path) -> VideoIndex:
    """An index as named; or that of a folder or list, always of what is there now: rows that are known are taken from the index kept in
    RUN/features, or from the run's own.

    A run's own index may be of a part of a folder, or of more than a list names, so it never stands for either.
    """
    if data.suffix == ".arrow":
        return VideoIndex.load(data)
    _check(data)
    kept = run / "features" / f"index_{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]}.arrow"
    found = [path for path in (kept, run / "index.arrow") if path.is_file()]
    known = VideoIndex.load(found[0], root=_root(data)) if found and data.exists() else None
    built = VideoIndex.build(data, known=known)
    if built.read or not kept.is_file():
        built.save(kept)
    return built


def _check(data: Path) -> None:
    if data.is_file() and data.suffix not in LISTS:
        raise VidsslError(
            f"data={str(data)!r}: neither a folder of videos, nor a list ({', '.join(LISTS)}), nor an index (.arrow); name one"
        )


def _root(data: Path) -> Path:
    return data if data.is_dir() else data.parent
