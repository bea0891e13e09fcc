"""Write lists or indexes of a data set's parts. Every command accepts both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry
from vidssl.index.lists import COLUMNS, INTERVALS, write_list
from vidssl.index.table import VideoIndex
from vidssl.paths import output_path
from vidssl.types import VidsslError

_FIRST = {",".join((*COLUMNS, *interval)).encode() for interval in ((), *INTERVALS.values())}  # lines of our lists


def write_lists(
    dataset: Dataset, out: Path, *, index: bool = False, workers: int | None = None, progress: bool = True
) -> list[Path]:
    """Write OUT/NAME_PART.csv for each part, without missing videos. The part "all" is OUT/NAME.csv.

    The columns are path,label,group and, if some videos are segments of their files, start,end.

    Args:
        dataset: The data set.
        out: Folder for the lists.
        index: Write the index OUT/NAME_PART.arrow for each part instead, and OUT/NAME.csv and OUT/NAME.arrow for all
            videos. A video in several parts is decoded once.
        workers: Number of threads that build the index; None takes one per processor.
        progress: Show the progress of the index.

    Returns:
        The files written.

    Raises:
        VidsslError: No video exists, out cannot be written, out has another list of the same name, the data set was
            read from a list that would be replaced, or a name of the data set or of a part leads out of `out`.
    """
    parts = {part: [entry for entry in entries if entry.path is not None] for part, entries in dataset.parts.items()}
    if not any(parts.values()):
        raise VidsslError(
            f"datasets: none of the videos of {dataset.name} exist; run `vidssl datasets check` to see what is missing"
        )
    # Before anything is written: a part may be named by a list from elsewhere.
    places = {part: output_path(out, f"{_stem(dataset, part)}{'.arrow' if index else '.csv'}") for part in parts}
    try:
        if not index:
            for part, entries in parts.items():
                _write(places[part], entries, dataset.source)
            return list(places.values())
        whole = output_path(out, f"{dataset.name}.csv")
        _write(whole, {entry.row(): entry for entries in parts.values() for entry in entries}.values(), dataset.source)
        saved = whole.with_suffix(".arrow")
        known = VideoIndex.load(saved, root=out, allow_outside=True) if saved.is_file() else None
        built = VideoIndex.build(
            whole, known=known, journal=out / f".{dataset.name}.partial", workers=workers, progress=progress
        )
        built.save(saved)
        (out / f".{dataset.name}.partial").unlink(missing_ok=True)
    except OSError as error:
        raise VidsslError(f"datasets: out={str(out)!r}: {error.strerror or error}; name a writable folder") from error
    rows = {built.root / path: row for row, path in enumerate(built.column("path").to_pylist())}
    made = [whole, saved]
    for part, entries in parts.items():
        if places[part] != saved:
            made.append(places[part])
            built.select(sorted(rows[entry.row()] for entry in entries)).save(made[-1])
    return made


def _stem(dataset: Dataset, part: str) -> str:
    """The name of a part's files."""
    return dataset.name if part == "all" else f"{dataset.name}_{part}"


def _write(path: Path, entries: Iterable[Entry], source: Path | None) -> None:
    """Write a list, unless it would replace a file that vidssl did not write, or the list `source`."""
    folder = path.parent.resolve()
    where = f"datasets: out={str(path.parent)!r}: its {path.name}"
    if source is not None and folder / path.name == source.resolve():
        raise VidsslError(f"{where} is the list that is read; name another folder")
    if path.is_file() and path.read_bytes().split(b"\n")[0].strip() not in _FIRST:
        raise VidsslError(f"{where} is not a list that vidssl wrote; name another folder")
    entries = list(entries)
    units = {entry.excerpt.unit for entry in entries if entry.excerpt is not None}
    interval = INTERVALS[units.pop()] if units else ()  # a data set states all segments in one unit
    rows = []
    for entry in entries:
        assert entry.path is not None
        video = entry.path.resolve()
        name = video.relative_to(folder) if video.is_relative_to(folder) else video
        start_end = entry.excerpt.texts() if entry.excerpt is not None else ("", "")
        rows.append((str(name), entry.label, entry.group, *start_end[: len(interval)]))
    write_list(path, rows, (*COLUMNS, *interval))
