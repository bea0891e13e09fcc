"""Re-encodes a whole data set in parallel. Videos that fail are reported and left out."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from vidssl.cpus import cpus
from vidssl.deadline import FILE_SECONDS, Deadline, FileTimeoutError
from vidssl.files import parse_json
from vidssl.index.lists import write_list
from vidssl.index.table import VideoIndex
from vidssl.kernels.plan import HasPlan
from vidssl.loader.profile import rate
from vidssl.lock import LOCK, hold
from vidssl.paths import atomic_write, open_append, output_path, printable, resolve_folder
from vidssl.prepare.encode import Encoding, encode
from vidssl.prepare.splits import copy_lists
from vidssl.types import VidsslError
from vidssl.workers import Workers, finished

JOURNAL = "prepared.jsonl"  # in OUT: the settings, then one line for each file that was made or failed
LIST, INDEX = "videos.csv", "index.arrow"
_ROUNDS, _MEASURED = 3, 64  # for the speed-up: rounds, and windows in each
_SECONDS_A_FRAME = 10.0  # enough to encode a large frame on a busy machine


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
        lists: Lists of files that were copied.
        speedup: For each round, windows/s of the loader with the new videos divided by windows/s with their sources;
            empty if no video is long enough.
    """

    out: Path
    made: int
    kept: int
    skipped: list[tuple[str, str]]
    before: int
    after: int
    lists: list[str]
    speedup: list[float] = field(default_factory=list)

    def text(self) -> str:
        lines = [f"{self.made} videos made, {self.kept} already made by earlier calls, {len(self.skipped)} skipped"]
        lines += [f"  skipped: {printable(path)}: {printable(reason)}" for path, reason in self.skipped[:20]]
        if len(self.skipped) > 20:
            lines.append(f"  and {len(self.skipped) - 20} more, listed in {self.out / JOURNAL}")
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
            lines.append("the speed-up of the loader was not measured: no video is long enough")
        if self.lists:
            lines.append(f"lists copied: {', '.join(map(printable, self.lists))}")
        slower = bool(self.speedup) and median(self.speedup) < 1
        hint = (
            "not faster: train on the source videos or, to save space, on the new ones" if slower else "train on them"
        )
        return "\n".join([*lines, f"{hint} with --data {self.out / INDEX}"])


def prepare(
    index: VideoIndex,
    out: str | os.PathLike[str],
    how: Encoding,
    task: HasPlan,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> PrepareResult:
    """Re-encodes every usable video of an index, and writes a list and an index of the new videos.

    Args:
        index: The source videos.
        out: Folder for the new videos; subfolders are kept. If it holds an interrupted call's videos, it continues.
        how: The settings.
        task: Its windows are used to measure the speed-up.
        workers: Threads; None takes one for each core.
        progress: Show a progress bar.

    Returns:
        What was done.

    Raises:
        VidsslError: `out` cannot be used, another process writes to it, or it was made with other settings.
        KeyboardInterrupt: Ctrl-C, within about two seconds; the next call continues.
    """
    target = Path(out)
    names = _refuse(index, target)
    with hold(target / LOCK, f"prepare: out={str(target)!r}"):
        return _prepare(index, target, names, how, task, workers=workers, progress=progress)


def _prepare(
    index: VideoIndex,
    target: Path,
    names: dict[int, str],
    how: Encoding,
    task: HasPlan,
    *,
    workers: int | None,
    progress: bool,
) -> PrepareResult:
    journal = _Journal(target, how)
    rows = {row: names[row] for row in index.usable().tolist()}
    for left in target.rglob(".*.partial"):  # of a process that was killed while it wrote
        left.unlink()
    todo = {row: name for row, name in rows.items() if not journal.has(_source(index, row), target / name)}
    skipped = index.skipped()
    count = workers or cpus()
    with journal, Workers(count, "vidssl-prepare") as pool:
        jobs = {pool.submit(_one, index, row, target / name, how): row for row, name in todo.items()}

        def record(job: Future[str]) -> None:
            row = jobs.pop(job)
            try:
                reason = job.result()
            except FileTimeoutError as late:  # its worker hangs
                reason = str(late)
            journal.add(_source(index, row), target / names[row], reason)
            if reason:
                skipped.append((index.column("path")[row].as_py(), reason))

        with tqdm(total=len(jobs), desc="prepare", unit="video", disable=None if progress else True) as bar:
            try:
                for done in finished(jobs, most=1):
                    record(done[0])
                    bar.update()
            except KeyboardInterrupt:
                for job in [job for job in jobs if job.done()]:
                    record(job)
                raise KeyboardInterrupt(
                    f"stopped: {len(todo) - len(jobs)} of {len(todo)} videos are made; the same command continues"
                ) from None
    whole = [row for row, name in rows.items() if journal.has(_source(index, row), target / name)]
    made = _indexed(index, target, {row: rows[row] for row in whole}, workers=count, progress=progress)
    for row, name, frames in zip(
        whole, made.column("path").to_pylist(), made.column("frames").to_pylist(), strict=True
    ):
        if frames != index.frames(row):
            raise VidsslError(
                f"prepare: {name} has {frames} frames, but its source has {index.frames(row)}; "
                "leave the video out, and report this error"
            )
    return PrepareResult(
        out=target,
        made=len(todo) - (len(skipped) - len(index.skipped())),
        kept=len(rows) - len(todo),
        skipped=skipped,
        before=int(np.sum(index.select(whole).column("bytes").to_numpy())),
        after=int(np.sum(made.column("bytes").to_numpy())),
        lists=_lists(index, target, {index.column("path")[row].as_py(): names[row] for row in whole}),
        speedup=_speedup(index.select(whole), made, task, count),
    )


def targets(index: VideoIndex) -> dict[int, str]:
    """Returns the path of each row's new video below OUT.

    All paths differ, and none is a folder of another: if two would collide, they keep their old endings. Parts that
    lead out of OUT (a leading slash, ..) are dropped.

    Raises:
        VidsslError: Two paths are still the same.
    """
    paths = index.column("path").to_pylist()
    old = [
        PurePosixPath("/".join(part for part in path.split("/") if part not in ("", "..")) or "video") for path in paths
    ]
    new = [path.with_suffix(".mp4") for path in old]
    while clash := _clash(new):
        changed = {row: old[row].with_name(f"{old[row].name}.mp4") for row in clash}
        if all(new[row] == name for row, name in changed.items()):
            one = min(clash)
            other = next(row for row, name in enumerate(new) if row != one and new[one] in (name, *name.parents))
            raise VidsslError(
                f"prepare: the new files of {printable(paths[one])} and {printable(paths[other])} would collide in "
                "OUT; rename one of them"
            )
        for row, name in changed.items():
            new[row] = name
    return dict(enumerate(map(str, new)))


def _clash(names: list[PurePosixPath]) -> set[int]:
    """Returns the rows whose name is also the name, or a folder, of another row."""
    often = Counter(names)
    folders = {folder for name in names for folder in name.parents}
    return {row for row, name in enumerate(names) if often[name] > 1 or name in folders}


def _refuse(index: VideoIndex, out: Path) -> dict[int, str]:
    """Returns `targets(index)`. Raises VidsslError if `out` cannot be used, or a file in it is one of the sources."""
    where = f"prepare: out={str(out)!r}:"
    if index.source is not None and out.resolve().is_relative_to(index.source.resolve()):
        raise VidsslError(
            f"{where} it lies in the folder of the videos, {str(index.source)!r}; name a folder elsewhere"
        )
    if not len(index.usable()):
        raise VidsslError(f"prepare: none of the {len(index)} videos can be used; `vidssl index` shows why")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / JOURNAL).is_file() and any(path.name != LOCK for path in out.iterdir()):
            raise VidsslError(f"{where} not empty, and not made by `vidssl prepare`; name an empty folder")
    except OSError as error:
        raise VidsslError(f"{where} {error.strerror or error}; name a folder that can be written") from error
    names = targets(index)
    columns = (index.column(name).to_pylist() for name in ("path", "archive"))
    sources = {resolve_folder(index.root / (archive or path)) for path, archive in zip(*columns, strict=True)}
    for name in names.values():
        if name.partition("/")[0] in (JOURNAL, LIST, INDEX):
            raise VidsslError(
                f"{where} {printable(name)} cannot be made, because `vidssl prepare` writes {name.partition('/')[0]} "
                "there; rename the video or its folder"
            )
        if resolve_folder(output_path(out, name)) in sources:
            raise VidsslError(f"{where} {printable(name)} in it is one of the videos to prepare; name another folder")
    return names


def _source(index: VideoIndex, row: int) -> dict[str, Any]:
    """Identifies the source of a new video."""
    return {name: index.column(name)[row].as_py() for name in ("path", "bytes", "mtime_ns")}


def _one(index: VideoIndex, row: int, target: Path, how: Encoding) -> str:
    """Encodes one video, which is written whole or not at all. Returns why it failed, or an empty text."""
    try:
        about = {
            name: index.column(name)[row].as_py()
            for name in ("regular", "color_range", "color_matrix", "color_primaries")
        }
        video = index.video(row)
        with (
            Deadline.enter(video.path, video.bytes, FILE_SECONDS + _SECONDS_A_FRAME * video.frames),
            atomic_write(target) as aside,
        ):
            encode(video, about, aside, how)
    except (VidsslError, av.FFmpegError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:  # ENOSPC: every other file would fail too
            raise VidsslError(
                f"prepare: {target}: no space left on the disk; free some, and call it again: it continues"
            ) from error
        return str(error)
    return ""


class _Journal:
    """OUT/prepared.jsonl. An incomplete last line is ignored."""

    def __init__(self, out: Path, how: Encoding) -> None:
        self._path, self._out = out / JOURNAL, out
        self._done: dict[str, dict[str, Any]] = {}
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        found: list[dict[str, Any]] = []
        for line in lines:
            try:
                found.append(parse_json(line))
            except ValueError:
                continue
        settings = asdict(how)
        if found and found[0].get("settings") != settings:
            then = found[0].get("settings") or {}
            changed = "; ".join(
                f"{key}: formerly {then.get(key)}, now {value}"
                for key, value in settings.items()
                if then.get(key) != value
            )
            raise VidsslError(
                f"prepare: out={str(out)!r}: made with other settings ({changed}); "
                "use the former settings, or another folder"
            )
        for one in found[1:]:
            self._done[one["path"]] = one
        self._lines = [{"settings": settings}] if not found else []

    def __enter__(self) -> _Journal:
        cut = self._path.is_file() and not self._path.read_bytes().endswith(b"\n")
        self._file = open_append(self._path)
        self._file.write("\n" if cut else "")
        for line in self._lines:
            self._write(line)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def has(self, source: dict[str, Any], target: Path) -> bool:
        """Returns True if `target` was made from this version of the source, and still has its size."""
        one = self._done.get(source["path"])
        if (
            one is None
            or one["reason"]
            or any(one[key] != value for key, value in source.items())
            or not target.is_file()
        ):
            return False
        return bool(target.stat().st_size == one["size"])

    def add(self, source: dict[str, Any], target: Path, reason: str) -> None:
        made = {} if reason else {"target": target.relative_to(self._out).as_posix(), "size": target.stat().st_size}
        self._done[source["path"]] = {**source, **made, "reason": reason}
        self._write(self._done[source["path"]])

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")


def _indexed(index: VideoIndex, out: Path, names: dict[int, str], *, workers: int, progress: bool) -> VideoIndex:
    """Writes OUT's list and index, with the labels and groups of the source. Rows are in the order of `names`."""
    chosen = index.select(list(names))
    labels, groups = (chosen.column(name).to_pylist() for name in ("label", "group"))
    write_list(out / LIST, zip(names.values(), labels, groups, strict=True))
    saved = out / INDEX
    known = VideoIndex.load(saved, root=out) if saved.is_file() else None
    made = VideoIndex.build(out / LIST, known=known, workers=workers, progress=progress)
    made.save(saved)
    place = {path: row for row, path in enumerate(made.column("path").to_pylist())}
    return made.select([place[name] for name in names.values()])


def _lists(index: VideoIndex, out: Path, names: dict[str, str]) -> list[str]:
    """Copies the lists below the folder that the index was made of, if it is known."""
    return (
        [] if index.source is None else copy_lists(index.source, index.root, out, names, taken=(LIST, JOURNAL, INDEX))
    )


def _speedup(before: VideoIndex, after: VideoIndex, task: HasPlan, workers: int) -> list[float]:
    """Returns, for each round, the loader's windows/s with the new videos divided by windows/s with the sources."""
    if not len(before.usable(task.plan.frames)):
        return []
    found = []
    for _ in range(_ROUNDS):
        first = rate(before, task, workers=workers, windows=_MEASURED)
        found.append(rate(after, task, workers=workers, windows=_MEASURED) / first)
    return found
