"""`--data`: a folder of videos, a list of them, or an index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vidssl.index.sources import LISTS
from vidssl.index.table import ENDING, VideoIndex
from vidssl.paths import output_path
from vidssl.types import VidsslError


def open_data(data: Path, out: Path | None, *, allow_outside: bool = False) -> VideoIndex:
    """An index as named; or that of a folder or list as it is now: rows of files that have not changed are taken from
    the index kept in `out`, which is made if there is none. allow_outside: an index as named may name files outside of
    its root.
    """
    kept = [out / "index.arrow"] if out is not None else []
    index = _open(data, kept, allow_outside)
    if data.suffix != ENDING and kept and not kept[0].exists():  # never in place of another folder's
        index.save(kept[0])
    return index


def open_kept(data: Path, run: Path, *, allow_outside: bool = False) -> VideoIndex:
    """As `open_data`, but rows that are known are taken from the index kept in RUN/features, which is always of what is
    there now, or from the run's own.

    A run's own index may be of a part of a folder, or of more than a list names, so it never stands for either.
    """
    kept = (
        output_path(run, "features") / f"index_{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]}{ENDING}"
    )
    index = _open(data, [kept, run / "index.arrow"], allow_outside)
    if data.suffix != ENDING and (index.read or not kept.is_file()):
        index.save(kept)
    return index


def _open(data: Path, known: Sequence[Path], allow_outside: bool) -> VideoIndex:
    """`data`, with what the first index of `known` that is there knows of its files."""
    if data.suffix == ENDING:
        return VideoIndex.load(data, allow_outside=allow_outside)
    _check(data)
    found = next((path for path in known if path.is_file()), None) if data.exists() else None
    # What is known is compared with files that `data` names; the paths in it are not opened.
    return VideoIndex.build(
        data, known=VideoIndex.load(found, root=_root(data), allow_outside=True) if found is not None else None
    )


def _check(data: Path) -> None:
    if data.is_file() and data.suffix not in LISTS:
        raise VidsslError(
            f"data={str(data)!r}: neither a folder of videos, nor a list ({', '.join(LISTS)}), nor an index (.arrow); name one"
        )


def _root(data: Path) -> Path:
    return data if data.is_dir() else data.parent
