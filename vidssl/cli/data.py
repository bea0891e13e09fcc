"""`--data`: a folder of videos, a list of them, or an index; of training, several."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from vidssl.index.journal import hold_journal, journal_of
from vidssl.index.lists import LISTS, is_list
from vidssl.index.mixture import Mixture
from vidssl.index.table import ENDING, VideoIndex
from vidssl.index.tars import is_tar
from vidssl.paths import output_path
from vidssl.pools.base import Engine
from vidssl.store.frames import FrameStore
from vidssl.train.data_sets import DataSet, names_of
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
# Of an index in a folder that may hold several, and of what is left of one that was interrupted.
_NAME = re.compile(
    rf"index_[0-9a-f]{{16}}{re.escape(ENDING)}|\.index_[0-9a-f]{{16}}{re.escape(ENDING)}(\.\d+)?\.partial"
)


def open_sets(
    sets: Sequence[DataSet], out: Path | None, *, store: FrameStore | None = None, allow_outside: bool = False
) -> VideoIndex:
    """Opens one data set, or several as a mixture, each as `open_data` does; OUT has an index of each of several."""
    if len(sets) == 1:
        return open_data(sets[0].path, out, store=store, allow_outside=allow_outside)
    parts = [open_data(one.path, out, store=store, allow_outside=allow_outside, name=_name(one.path)) for one in sets]
    return Mixture(dict(zip(names_of(sets), parts, strict=True)), [one.weight for one in sets])


def open_data(
    data: Path,
    out: Path | None,
    *,
    store: FrameStore | None = None,
    allow_outside: bool = False,
    name: str = "index.arrow",
    engine: Engine = "local",
) -> VideoIndex:
    """Opens an index, or indexes a folder or a list.

    Args:
        data: The index, folder or list.
        out: Folder of a run: unchanged files are taken from its index, which is written if it does not exist.
        store: Keeps the frames of the files that are read. Its folder has an index for the next call too.
        allow_outside: Accept an index that names files outside of its root.
        name: Of the index in `out`.
        engine: As in `VideoIndex.build`; a store then keeps nothing yet.

    Returns:
        The index of `data` as it is now.
    """
    kept = out / name if out is not None else None
    shared = _shared(data, store)
    known = [path for path in (kept, shared) if path is not None]
    # It never replaces the index of another folder.
    new = kept if kept is not None and data.suffix != ENDING and not kept.exists() else None
    with ExitStack() as stack:
        journal = journal_of(new) if new is not None else _free_journal(shared, store, stack)
        index = _open(data, known, allow_outside, journal, store=store, engine=engine)
        if new is not None:
            index.save(new)
        _share(index, shared, store)
        if journal is not None:
            journal.unlink(missing_ok=True)
    return index


def open_kept(
    data: Path, run: Path, *, store: FrameStore | None = None, allow_outside: bool = False, keep: bool = True
) -> VideoIndex:
    """Opens as `open_data` does, but takes unchanged files from an index in RUN/features, or else of RUN.

    The index in RUN/features is updated, unless `keep` is False. RUN/index.arrow may cover other videos than `data`, so
    it is never used whole.
    """
    kept, shared = output_path(run, "features") / _name(data), _shared(data, store)
    known = [path for path in (kept, shared, run / kept.name, run / "index.arrow") if path is not None]
    index = _open(data, known, allow_outside, store=store)
    if keep and data.suffix != ENDING and (index.read or not kept.is_file()):
        index.save(kept)
    _share(index, shared, store)
    return index


def _name(data: Path) -> str:
    """The name of the index of `data` in such a folder."""
    return f"index_{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]}{ENDING}"


def indexes_in(store: Path) -> list[Path]:
    """The indexes in the folder of a store, and what is left of interrupted ones."""
    return sorted(path for path in store.iterdir() if _NAME.fullmatch(path.name))


def unnamed_indexes_in(store: Path, datasets: Sequence[Path]) -> list[Path]:
    """The complete indexes in the folder of a store that belong to none of these data sets."""
    named = {_name(data) for data in datasets}
    return [path for path in indexes_in(store) if path.name.endswith(ENDING) and path.name not in named]


def _shared(data: Path, store: FrameStore | None) -> Path | None:
    """The index of `data` in the folder of a store, for all runs that read it; None if there is none to be made."""
    return None if store is None or store.folder is None or data.suffix == ENDING else store.folder / _name(data)


def _free_journal(shared: Path | None, store: FrameStore | None, stack: ExitStack) -> Path | None:
    """The journal of the index in a store, held by `stack`; None if there is none, or another process holds it."""
    if shared is None or store is None or not store.keeps:
        return None
    try:
        stack.enter_context(hold_journal(journal_of(shared)))
    except VidsslError:
        return None
    return journal_of(shared)


def _share(index: VideoIndex, shared: Path | None, store: FrameStore | None) -> None:
    """Writes the index for other runs. One that cannot be written costs them time, and is no error."""
    if shared is None or store is None or not store.keeps or not (index.read or not shared.is_file()):
        return
    try:
        index.save(shared)
    except VidsslError as error:
        log.warning("%s; other runs will read the videos again", error)


def _open(
    data: Path,
    known: Sequence[Path],
    allow_outside: bool,
    journal: Path | None = None,
    *,
    store: FrameStore | None = None,
    engine: Engine = "local",
) -> VideoIndex:
    """Returns the index of `data`; unchanged files are taken from the first index of `known` that exists."""
    if data.suffix == ENDING:
        return VideoIndex.load(data, allow_outside=allow_outside)
    _check(data)
    old = None
    for path in known if data.exists() else ():
        if path.is_file():
            try:  # it is only compared with the files that `data` names; its paths are not opened
                old = VideoIndex.load(path, root=_root(data), allow_outside=True)
                break
            except VidsslError as error:
                if store is None or path.parent != store.folder:
                    raise
                log.warning("%s; the videos are read again", error)  # another run may have written it
    keeps = store if store is not None and store.keeps and engine == "local" else None
    index = VideoIndex.build(data, known=old, journal=journal, store=keeps, engine=engine)
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
