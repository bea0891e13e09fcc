"""Lists of a data set's parts, and indexes of them, which every command takes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry
from vidssl.stages.index import VideoIndex
from vidssl.types import VidsslError


def write_lists(dataset: Dataset, out: Path, *, index: bool = False, workers: int | None = None, progress: bool = True) -> list[Path]:
    """Write OUT/NAME_PART.csv (path,label,group) for each part, of the videos that are there; with `index`, .arrow in their stead.

    A video of several parts is decoded once. Returns what was written. Raises VidsslError where nothing is there, or OUT cannot be written.
    """
    parts = {part: [entry for entry in entries if entry.path is not None] for part, entries in dataset.parts.items()}
    if not any(parts.values()):
        raise VidsslError(f"datasets: none of the videos of {dataset.name} are there; `vidssl datasets check` says what was looked for")
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = []
        for part, entries in parts.items():
            written.append(out / f"{dataset.name}_{part}.csv")
            _write(written[-1], entries)
        if not index:
            return written
        for path in written:
            path.unlink()
        whole = out / f"{dataset.name}.csv"
        _write(whole, {entry.path: entry for entries in parts.values() for entry in entries}.values())
        saved = whole.with_suffix(".arrow")
        known = VideoIndex.load(saved, root=out) if saved.is_file() else None
        made = VideoIndex.build(whole, known=known, journal=out / f".{dataset.name}.partial", workers=workers, progress=progress)
        made.save(saved)
        (out / f".{dataset.name}.partial").unlink(missing_ok=True)
    except OSError as error:
        raise VidsslError(f"datasets: out={str(out)!r}: {error.strerror or error}; name a folder that can be written") from error
    rows = {made.root / path: row for row, path in enumerate(made.column("path").to_pylist())}
    written = [whole, saved]
    for part, entries in parts.items():
        written.append(out / f"{dataset.name}_{part}.arrow")
        made.select(sorted(rows[entry.path.resolve()] for entry in entries if entry.path is not None)).save(written[-1])
    return written


def _write(path: Path, entries: Iterable[Entry]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for entry in entries:
            assert entry.path is not None
            place = entry.path.resolve()
            below = place.is_relative_to(path.parent.resolve())
            writer.writerow([os.path.relpath(place, path.parent.resolve()) if below else place, entry.label or "", entry.group or ""])
