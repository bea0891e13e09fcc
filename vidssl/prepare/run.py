"""Re-encodes a whole data set in parallel. Videos that fail are reported and left out."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

import numpy as np

from vidssl.cpus import cpus
from vidssl.index.lists import write_list
from vidssl.index.table import VideoIndex
from vidssl.kernels.joint import HasPlan
from vidssl.loader.profile import rate
from vidssl.lock import LOCK, hold
from vidssl.paths import output_path, printable, resolve_folder
from vidssl.pools.base import Engine
from vidssl.pools.choose import open_pool
from vidssl.prepare.encode import Encoding
from vidssl.prepare.journal import JOURNAL, Journal
from vidssl.prepare.make import make
from vidssl.prepare.names import targets
from vidssl.prepare.splits import CopiedLists, copy_lists
from vidssl.prepare.stale import SHOWN, delete_unfinished, find_stale, sort_out, stale_lines
from vidssl.types import VidsslError

LIST, INDEX = "videos.csv", "index.arrow"
TAKEN = (JOURNAL, LIST, INDEX, LOCK)  # names in OUT that are no video's or list's
_ROUNDS, _MEASURED = 3, 64  # for the speed-up: rounds, and windows in each
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """What `prepare` did.

    Attributes:
        out: The folder of the new videos.
        made: Number of videos re-encoded by this call.
        kept: Number of videos that earlier calls had made.
        skipped: (path, reason) of each video that was left out.
        before: Bytes of the source videos.
        after: Bytes of the new videos.
        lists: Lists of files that were copied, and the number of lines that each copy leaves out, because a video that
            they name has no new file.
        not_copied: (path, reason) of each list of files that could not be copied, and of each folder that could not be
            searched for lists.
        stale: Files of earlier calls in `out` that belong to no source now, such as the copy of a deleted video. The
            copy of a video that could only not be read or re-encoded now is none of them.
        changed: Those of the stale files that are not known to be as `prepare` wrote them. They are never deleted.
        removed: True if the other stale files were deleted.
        speedup: For each round, windows/s of the loader with the new videos divided by windows/s with their sources.
        unmeasured: Why there is no speed-up; "" if there is one.
    """

    out: Path
    made: int
    kept: int
    skipped: list[tuple[str, str]]
    before: int
    after: int
    lists: dict[str, int]
    not_copied: list[tuple[str, str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: bool = False
    speedup: list[float] = field(default_factory=list)
    unmeasured: str = ""

    def text(self) -> str:
        """Return what was made, kept and skipped, as lines for a terminal."""
        lines = [f"{self.made} videos made, {self.kept} already made by earlier calls, {len(self.skipped)} skipped"]
        lines += [f"  skipped: {path}: {reason}" for path, reason in self.skipped[:SHOWN]]
        if len(self.skipped) > SHOWN:
            lines.append(f"  and {len(self.skipped) - SHOWN} more, listed in {self.out / JOURNAL}")
        lines.append(
            f"{self.before / 1e6:.1f} MB before, {self.after / 1e6:.1f} MB now "
            f"({self.after / max(self.before, 1):.2f}x)"
        )
        if self.speedup:
            found = median(self.speedup)
            lines.append(
                f"the loader is {found:.2f}x as fast with the new videos "
                f"({min(self.speedup):.2f} to {max(self.speedup):.2f} in {_ROUNDS} rounds)"
            )
        else:
            lines.append(f"the speed-up of the loader was not measured: {self.unmeasured}")
        if self.lists:
            lines.append(f"lists copied: {', '.join(self.lists)}")
        lines += [
            f"  {name}: {count} lines left out, because a video that they name has no new file"
            for name, count in self.lists.items()
            if count
        ]
        lines += [f"list not copied: {path}: {reason}" for path, reason in self.not_copied[:SHOWN]]
        if len(self.not_copied) > SHOWN:
            lines.append(f"and {len(self.not_copied) - SHOWN} more lists not copied")
        if self.stale:
            lines += stale_lines(self.stale, self.changed, removed=self.removed)
        slower = bool(self.speedup) and median(self.speedup) < 1
        hint = (
            "not faster: train on the source videos or, to save space, on the new ones" if slower else "train on them"
        )
        return "\n".join(map(printable, [*lines, f"{hint} with --data {self.out / INDEX}"]))


def prepare(
    index: VideoIndex,
    out: str | os.PathLike[str],
    how: Encoding,
    task: HasPlan,
    *,
    workers: int | None = None,
    progress: bool = True,
    remove_stale: bool = False,
    engine: Engine = "local",
) -> PrepareResult:
    """Re-encodes every usable video of an index, and writes a list and an index of the new videos.

    Args:
        index: The source videos.
        out: Folder for the new videos; subfolders are kept. If it holds an interrupted call's videos, it continues.
        how: The settings.
        task: Its windows are used to measure the speed-up.
        workers: Threads; None takes one for each core.
        progress: Show a progress bar.
        remove_stale: Delete the files that earlier calls made in `out` and that belong to no source now, if they are
            unchanged.
        engine: Where the videos are encoded and the new ones are indexed, as in `VideoIndex.build`.

    Returns:
        What was done.

    Raises:
        VidsslError: `out` cannot be used, another process writes to it, it was made with other settings, or a file in
            it that `prepare` did not write, or that has changed since, would be replaced.
        KeyboardInterrupt: Ctrl-C, within about two seconds; the next call continues.
    """
    target = Path(out)
    _refuse(index, target)
    with hold(target / LOCK, f"prepare: out={str(target)!r}"):
        return _prepare(
            index, target, how, task, workers=workers, progress=progress, remove_stale=remove_stale, engine=engine
        )


def _prepare(
    index: VideoIndex,
    target: Path,
    how: Encoding,
    task: HasPlan,
    *,
    workers: int | None,
    progress: bool,
    remove_stale: bool,
    engine: Engine,
) -> PrepareResult:
    journal, sources = Journal(target, how), _sources(index)
    names, todo = plan(index, target, journal)  # under the lock: another process may have added some until now
    rows = {row: names[row] for row in index.usable().tolist()}
    delete_unfinished(target, [*names.values(), *journal.files(), *TAKEN])
    failed: dict[int, str] = {}

    def record(row: int, reason: str) -> None:
        journal.add(sources[row], names[row], reason)
        if reason:
            failed[row] = reason

    with open_pool("prepare", engine, workers) as pool, journal:
        pool.check_seen(target)  # its nodes index the new videos
        make(index, target, how, todo, record, journal=journal, pool=pool, progress=progress)
        whole = {row: name for row, name in rows.items() if row not in failed}
        made = _indexed(index, target, whole, workers=workers, progress=progress, engine=engine)
        for row, frames in zip(list(whole), made.column("frames").to_pylist(), strict=True):
            if frames != index.frames(row):
                failed[row] = f"its new file has {frames} frames, but it has {index.frames(row)}; report this error"
                journal.add(sources[row], names[row], failed[row])
        if not failed.keys().isdisjoint(whole):
            whole = {row: name for row, name in whole.items() if row not in failed}
            made = _indexed(index, target, whole, workers=workers, progress=progress, engine=engine)
        lists = _lists(index, target, whole, names, journal)
    delete_unfinished(target, lists.copied)  # of a list that no earlier call finished, too
    stale = find_stale(index, names, journal, [*TAKEN, *lists.copied, *lists.places])
    threads = workers if workers is not None and engine == "local" else cpus()
    speedup, unmeasured = _speedup(index.select(list(whole)), made, task, threads)
    return PrepareResult(
        out=target,
        made=len([row for row in todo if row in whole]),
        kept=len([row for row in whole if row not in todo]),
        skipped=index.skipped() + [(sources[row]["path"], reason) for row, reason in failed.items()],
        before=int(np.sum(index.select(list(whole)).column("bytes").to_numpy())),
        after=int(np.sum(made.column("bytes").to_numpy())),
        lists=lists.copied,
        not_copied=lists.failed,
        stale=stale,
        changed=sort_out(target, stale, journal, remove=remove_stale),
        removed=remove_stale,
        speedup=speedup,
        unmeasured=unmeasured,
    )


def new_names(index: VideoIndex, out: Path) -> dict[int, str]:
    """Return the path below `out` of each row's new video, as earlier calls into `out` named it."""
    return dict(enumerate(targets(index.column("path").to_pylist(), Journal(out, None).names(), taken=TAKEN)))


def _refuse(index: VideoIndex, out: Path) -> None:
    """Makes `out`. Raises VidsslError if it cannot be used."""
    where = f"prepare: out={str(out)!r}:"
    inside = _holds(index, out.resolve())
    if inside is not None:
        raise VidsslError(f"{where} it lies in the folder of the videos, {str(inside)!r}; name a folder elsewhere")
    if len(parts := index.excerpts()):
        what = f"{len(parts)} of the videos are segments of files, such as {index.column('path')[parts[0]]}"
        raise VidsslError(f"prepare: {what}; prepare the folder of the files, and name the new files in the list")
    if not len(index.usable()):
        raise VidsslError(f"prepare: none of the {len(index)} videos can be used; `vidssl check` shows why")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / JOURNAL).is_file() and any(path.name != LOCK for path in out.iterdir()):
            raise VidsslError(f"{where} not empty, and not made by `vidssl prepare`; name an empty folder")
    except OSError as error:
        raise VidsslError(f"{where} {error.strerror or error}; name a folder that can be written") from error


def plan(index: VideoIndex, out: Path, journal: Journal) -> tuple[dict[int, str], dict[int, str]]:
    """Decide which videos are made.

    Returns:
        `new_names`, and those of them that are to be made.

    Raises:
        VidsslError: A file in `out` is one of the sources, or would be replaced though `prepare` did not write it.
    """
    names, sources_of = new_names(index, out), _sources(index)
    sources = {resolve_folder(index.root / file) for file in _files(index)}
    for name in names.values():
        if resolve_folder(output_path(out, name)) in sources:
            raise VidsslError(
                f"prepare: out={str(out)!r}: {printable(name)} in it is one of the videos to prepare; "
                "name another folder"
            )
    todo = {row: names[row] for row in index.usable().tolist() if not journal.has(sources_of[row], names[row])}
    journal.check(todo.values())
    return names, todo


def _holds(index: VideoIndex, out: Path) -> Path | None:
    """The folder of the videos that OUT lies in, if any: a later index of it would take the new files for sources.

    Of an indexed folder, it is the folder itself. Of a list, wherever it lies, it is a folder with one of its videos.
    """
    if index.source is not None and not index.listed:
        return index.source if out.is_relative_to(index.source.resolve()) else None
    folders = {Path(resolve_folder(index.root / file)).parent for file in set(_files(index))}
    return next((folder for folder in (out, *out.parents) if folder in folders), None)


def _files(index: VideoIndex) -> list[str]:
    columns = (index.column(name).to_pylist() for name in ("path", "archive"))
    return [archive or path for path, archive in zip(*columns, strict=True)]


def _sources(index: VideoIndex) -> list[dict[str, Any]]:
    """What identifies the source of each row's new video."""
    names = ("path", "bytes", "mtime_ns")
    columns = (index.column(name).to_pylist() for name in names)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _indexed(
    index: VideoIndex, out: Path, names: dict[int, str], *, workers: int | None, progress: bool, engine: Engine
) -> VideoIndex:
    """Writes OUT's list and index, with the labels and groups of the source. Rows are in the order of `names`.

    Raises:
        VidsslError: There are no new videos.
    """
    if not names:
        raise VidsslError(
            f"prepare: none of the {len(index.usable())} videos could be re-encoded; {out / JOURNAL} says why"
        )
    chosen = index.select(list(names))
    labels, groups = (chosen.column(name).to_pylist() for name in ("label", "group"))
    write_list(out / LIST, zip(names.values(), labels, groups, strict=True))
    saved = out / INDEX
    try:
        known = VideoIndex.load(saved, root=out) if saved.is_file() else None
        made = VideoIndex.build(out / LIST, known=known, workers=workers, progress=progress, engine=engine)
    except VidsslError as error:  # it only saves time: an index that is damaged or of an older version is replaced
        log.warning("%s: indexing all new videos again: %s", saved, error)
        made = VideoIndex.build(out / LIST, workers=workers, progress=progress, engine=engine)
    made.save(saved)
    place = {path: row for row, path in enumerate(made.column("path").to_pylist())}
    return made.select([place[name] for name in names.values()])


def _lists(index: VideoIndex, out: Path, whole: dict[int, str], names: dict[int, str], journal: Journal) -> CopiedLists:
    """Copies the lists below the folder that the index was made of, if it is known.

    The names of folders of frames stay as they are: without an ending, they could be any word or number of a list.
    """
    if index.source is None:
        return CopiedLists({}, [], [])
    used = {*TAKEN, *(str(folder) for name in names.values() for folder in PurePosixPath(name).parents)}
    new = {one.path: whole.get(row) for row, one in enumerate(index.recorded()) if not one.is_frames}
    return copy_lists(index.source, index.root, out, new, journal, taken=used)


def _speedup(before: VideoIndex, after: VideoIndex, task: HasPlan, workers: int) -> tuple[list[float], str]:
    """Measures the loader.

    Returns:
        For each round, windows/s with the new videos divided by windows/s with the sources, and why there are none.
    """
    if not len(before.usable(task.plan.frames)):
        return [], "no video is long enough"
    found = []
    try:
        for _ in range(_ROUNDS):
            first = rate(before, task, workers=workers, windows=_MEASURED)
            found.append(rate(after, task, workers=workers, windows=_MEASURED) / first)
    except VidsslError as error:  # a source that has changed or is gone by now
        return [], str(error)
    return found, ""
