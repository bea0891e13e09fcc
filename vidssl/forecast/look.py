"""Reads some of the videos of a source as indexing does, and knows how much all of them are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidssl.index.build import by_file, read_videos
from vidssl.index.found import VideoFile
from vidssl.index.frames import size_of
from vidssl.index.lists import is_list
from vidssl.index.sources import find_videos
from vidssl.index.table import ENDING, VideoIndex
from vidssl.index.tars import is_tar
from vidssl.paths import printable
from vidssl.pools.local import LocalPool
from vidssl.remote import RemotePath, as_path
from vidssl.types import VidsslError

_SIZED = 2000  # files whose bytes are looked up, to know the bytes of all
_FEWEST = 2  # files that are read, however long they take: from one, no error can be told
T = TypeVar("T")


class Spent(NamedTuple):
    """Work that was done as a trial.

    Attributes:
        work: How much it was, in the unit of `work_of`.
        seconds: Processor time that it took: other work of the machine is not in it.
    """

    work: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of the videos of a source.

    Attributes:
        index: Of all videos or, where there was no index, of those that were read.
        whole: True if it is of all videos.
        videos: Videos of the source.
        scale: A sum over `index`, times this, is that of the source.
        rows: int64 [N]: rows of `index` for further trials, the best suited first.
        looked: Files that were read.
        spent: What reading each of them took, as far as it can be used.
        failed: Why files could not be used, of those that were read.
    """

    index: VideoIndex
    whole: bool
    videos: int
    scale: float
    rows: npt.NDArray[np.int64]
    looked: int
    spent: list[Spent]
    failed: list[str]

    @property
    def work(self) -> float:
        """Work of all videos of the source."""
        return self.scale * float(work_of(self.index, one_of_each_file(self.index)).sum())


def look(
    data: VideoIndex | str | os.PathLike[str], span: int, seconds: float, *, seed: int = 0, allow_outside: bool = False
) -> Look:
    """Reads videos that are drawn at random, for some seconds.

    Args:
        data: An index, or its file; a folder, a list or a shard.
        span: Frames that a video needs for the task.
        seconds: How long to read. A file that was begun is finished, and two are read in any case.
        seed: Of the draw.
        allow_outside: As in `VideoIndex.load`.

    Raises:
        VidsslError: There are no videos, none of those that were read can be used, or none has `span` frames.
    """
    random = np.random.default_rng(seed)
    if isinstance(data, VideoIndex):
        return _look_by_index(data, span, seconds, random)
    path = as_path(data, "estimate: data")
    if path.suffix == ENDING:
        return _look_by_index(VideoIndex.load(path, allow_outside=allow_outside), span, seconds, random)
    if path.is_file() and not is_list(path) and not is_tar(path.name):
        raise VidsslError(f"data={str(path)!r}: name a folder of videos, a list, a shard (.tar) or an index (.arrow)")
    return _look_by_files(path, span, seconds, random)


def within(seconds: float, items: Sequence[T], fewest: int = _FEWEST) -> Iterator[T]:
    """Yields items for some seconds, and so many in any case."""
    began = perf_counter()
    for count, item in enumerate(items):
        if count >= fewest and perf_counter() - began > seconds:
            return
        yield item


def work_of(index: VideoIndex, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """float64 [N]: work of reading the files of some rows: their decoded pixels or, where rows are segments, bytes."""

    def column(name: str) -> npt.NDArray[np.float64]:
        return np.asarray(index.column(name).to_numpy(), np.float64)[rows]

    if index.has_excerpts:
        return column("bytes")
    return column("frames") * column("coded_height") * column("coded_width")


def one_of_each_file(index: VideoIndex) -> npt.NDArray[np.int64]:
    """int64 [N]: a usable row of each file."""
    rows = index.usable()
    return rows[np.unique(index.files[rows], return_index=True)[1]]


def _look_by_index(index: VideoIndex, span: int, seconds: float, random: np.random.Generator) -> Look:
    long = index.usable(span)
    if not len(long):
        raise VidsslError(
            f"estimate: none of its {len(index)} videos has the {span} frames that the task needs; take another "
            f"recipe, or longer videos; {index.why_none(span)}"
        )
    rows = _first(random.permutation(one_of_each_file(index)), long)
    spent: list[Spent] = []
    failed: list[str] = []
    read: list[int] = []
    for row in within(seconds, rows.tolist()):
        [one] = index.select([row]).recorded()
        began = process_time()
        table = read_file(index.root, [one])
        reason = table["status"][0].as_py()
        if reason != "ok":
            failed.append(f"{one.path}: {reason}")
            continue
        spent.append(Spent(float(work_of(index, np.array([row]))[0]), process_time() - began))
        read.append(row)
    if not read:
        raise VidsslError(
            f"estimate: none of the {len(failed)} videos that were tried can be read, such as {printable(failed[0])}; "
            "estimate where the videos are, or index them again"
        )
    return Look(
        index=index,
        whole=True,
        videos=len(index),
        scale=1.0,
        rows=_first(np.array(read, np.int64), long),
        looked=len(read) + len(failed),
        spent=spent,
        failed=failed,
    )


def _look_by_files(source: Path, span: int, seconds: float, random: np.random.Generator) -> Look:
    folder, found, _ = find_videos(source)
    files = by_file(found)
    order = random.permutation(len(files))
    tables, spent, failed, some = [], [], [], []
    for at in within(seconds, order.tolist()):
        ones = [found[place] for place in files[at]]
        began = process_time()
        table = read_file(folder, ones)
        took = process_time() - began
        some.append(ones[0])
        index = VideoIndex(table, folder)
        spent.append(Spent(float(work_of(index, one_of_each_file(index)).sum()), took))
        failed += [f"{path}: {reason}" for path, reason in index.skipped()]
        tables.append(table)
    sample = VideoIndex(pa.concat_tables(tables), folder)
    long = sample.usable(span)
    if not len(long):
        raise VidsslError(
            f"estimate: none of the {len(some)} files that were looked at can be used with {span} frames; take another "
            f"recipe or more --seconds, or index the videos first; {sample.why_none(span)}"
        )
    return Look(
        index=sample,
        whole=len(some) == len(files),
        videos=len(found),
        scale=_scale(folder, [found[places[0]] for places in files], some, order),
        rows=_first(one_of_each_file(sample), long),
        looked=len(some),
        spent=spent,
        failed=failed,
    )


def read_file(folder: Path, ones: Sequence[VideoFile]) -> pa.Table:
    """Returns the rows of a file, or of segments of it, which is read as indexing does, with one thread."""
    return read_videos(folder, ones, journal=None, pool=LocalPool(1), progress=False, file_timeout=None)


def _first(rows: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows, those that are wanted first."""
    good = np.isin(rows, wanted)
    return np.concatenate((rows[good], rows[~good]))


def _scale(folder: Path, files: Sequence[VideoFile], some: Sequence[VideoFile], order: npt.NDArray[np.int64]) -> float:
    """How much more all files are than some of them: by their bytes, or behind a URL, where asking takes a request for
    each, by their number.
    """
    if len(some) == len(files):
        return 1.0
    if not isinstance(folder, RemotePath):
        sized = order[:_SIZED] if len(order) > _SIZED else order
        mean = float(np.mean([_bytes(folder, files[at]) for at in sized]))
        mine = sum(_bytes(folder, one) for one in some)
        if mine:
            return mean * len(files) / mine
    return len(files) / len(some)


def _bytes(folder: Path, one: VideoFile) -> int:
    if one.packed:
        return one.bytes or 0
    try:
        return size_of(folder / one.file, (folder / one.file).stat().st_size, frames=one.is_frames)
    except OSError:  # it is gone, and indexing will say so
        return 0
