"""Kinetics (400, 600, 700): a CSV names YouTube videos and the seconds of them; files are called ID_START_END.

Source: Kay et al., "The Kinetics Human Action Video Dataset", 2017, and the release's annotations, with the columns
label,youtube_id,time_start,time_end,split.
"""

from __future__ import annotations

import csv
from pathlib import Path

from vidssl.datasets.base import Dataset, Entry, VideoFiles, duplicate_names, empty_files
from vidssl.files import read_text
from vidssl.types import VidsslError

COLUMNS = ("youtube_id", "time_start", "time_end", "split")  # and label, which test lists lack


def kinetics(videos: Path, annotations: Path | None = None) -> Dataset:
    """The parts that the CSVs' column `split` names. A group is a YouTube video.

    videos: folder of the videos, with or without a folder a class (spaces or underscores). annotations: a CSV, or a
    folder of them; None looks for *.csv in videos. Files are called id_000010_000020.mp4: the id, and the seconds in
    six digits; the ending may be another.
    """
    place = annotations or videos
    lists = [place] if place.suffix == ".csv" else sorted(place.glob("*.csv"))
    if not lists and annotations is None:
        lists = sorted(videos.resolve().parent.glob("*.csv"))
    if not lists or not all(path.is_file() for path in lists):
        raise VidsslError(f"annotations={str(place)!r}: no .csv; name the release's list, or a folder of them")
    files = VideoFiles(videos, exact=True)
    parts: dict[str, list[Entry]] = {}
    for path in lists:
        for row in _rows(path):
            try:
                name = f"{row['youtube_id']}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
            except ValueError as error:
                raise VidsslError(f"annotations: {path}: {row}: times are not numbers ({error})") from error
            label = (row.get("label") or "").strip() or None
            found = files.get(f"{name}.mp4", label)
            parts.setdefault(row["split"].strip() or path.stem, []).append(Entry(name, found, label, row["youtube_id"]))
    problems = files.duplicates() + empty_files(parts)
    for part, entries in parts.items():
        problems += duplicate_names(entries, part)
    notes = (
        ["videos disappear from YouTube: copies differ in what is missing, so say of how many a figure is"]
        if parts
        else []
    )
    return Dataset(name="kinetics", parts=parts, extra=files.unused(), problems=problems, notes=notes)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(read_text(path, "utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise VidsslError(f"annotations: {path}: cannot be read as text ({error})") from error
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if lacking:
        raise VidsslError(
            f"annotations: {path}: lacks the columns {', '.join(lacking)}; they are label,{','.join(COLUMNS)}"
        )
    return list(reader)
