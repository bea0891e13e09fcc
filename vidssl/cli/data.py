"""`--data`: a folder of videos, a list of them, or an index."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from vidssl.index.journal import journal_of
from vidssl.index.lists import LISTS, is_list
from vidssl.index.table import ENDING, VideoIndex
from vidssl.index.tars import is_tar
from vidssl.paths import output_path
from vidssl.types import VidsslError

log = logging.getLogger(__name__)


def open_data(data: Path, out: Path | None, *, allow_outside: bool = False) -> VideoIndex:
    """Opens an index, or indexes a folder or a list.

    Args:
        data: The index, folder or list.
        out: Folder of a run: unchanged files are taken from its index.arrow, which is written if it does not exist.
        allow_outside: Accept an index that names files outside of its root.

    Returns:
        The index of `data` as it is now.
    """
    kept = out / "index.arrow" if out is not None else None
    if kept is None or data.suffix == ENDING or kept.exists():  # never replaces the index of another folder
        return _open(data, [kept] if kept is not None else [], allow_outside)
    journal = journal_of(kept)
    index = _open(data, [], allow_outside, journal)
    index.save(kept)
    journal.unlink(missing_ok=True)
    return index


def open_kept(data: Path, run: Path, *, allow_outside: bool = False) -> VideoIndex:
    """Opens as `open_data` does, but takes unchanged files from an index in RUN/features, or else from RUN/index.arrow.

    The index in RUN/features is updated. RUN/index.arrow may cover other videos than `data`, so it is never used whole.
    """
    kept = (
        output_path(run, "features") / f"index_{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]}{ENDING}"
    )
    index = _open(data, [kept, run / "index.arrow"], allow_outside)
    if data.suffix != ENDING and (index.read or not kept.is_file()):
        index.save(kept)
    return index


def _open(data: Path, known: Sequence[Path], allow_outside: bool, journal: Path | None = None) -> VideoIndex:
    """Returns the index of `data`; unchanged files are taken from the first index of `known` that exists."""
    if data.suffix == ENDING:
        return VideoIndex.load(data, allow_outside=allow_outside)
    _check(data)
    found = next((path for path in known if path.is_file()), None) if data.exists() else None
    # The known index is only compared with the files that `data` names; its paths are not opened.
    old = VideoIndex.load(found, root=_root(data), allow_outside=True) if found is not None else None
    index = VideoIndex.build(data, known=old, journal=journal)
    for note in index.notes:
        log.info("%s: %s", data, note)
    return index


def _check(data: Path) -> None:
    if data.is_file() and not is_list(data) and not is_tar(data.name):
        raise VidsslError(
            f"data={str(data)!r}: not a folder of videos, a list ({', '.join(LISTS)}), a shard (.tar) or an index "
            "(.arrow); name one of these"
        )


def _root(data: Path) -> Path:
    return data if data.is_dir() else data.parent
