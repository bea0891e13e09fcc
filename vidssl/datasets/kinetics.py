"""Kinetics (400, 600, 700): a CSV lists YouTube videos with start and end in seconds. Files are named ID_START_END.

Source: Kay et al., "The Kinetics Human Action Video Dataset", 2017, and the release's annotations, with the columns
label,youtube_id,time_start,time_end,split.
"""

from __future__ import annotations

from pathlib import Path

from vidssl.datasets.base import Dataset, Entry, VideoFiles, duplicate_names, empty_files
from vidssl.index.lines import clean_label
from vidssl.index.lists import delimiter_of, read_list_text, read_table
from vidssl.paths import is_plain
from vidssl.types import VidsslError

COLUMNS = ("youtube_id", "time_start", "time_end", "split")  # and label, which test lists do not have


def kinetics(videos: Path, annotations: Path | None = None) -> Dataset:
    """Check Kinetics. A group is a YouTube video.

    Files are named like id_000010_000020.mp4, with the id, the start and the end. Start and end are seconds in six
    digits. The extension may differ.

    Args:
        videos: Folder of the videos, with or without one folder for each class (spaces or underscores).
        annotations: A CSV, or a folder of CSVs; None searches for *.csv in videos, then beside it.

    Returns:
        The data set with one part for each value in the column `split` of the CSVs.

    Raises:
        VidsslError: videos is not a folder, there is no CSV, a CSV is corrupt, or no file can be named after a split.
    """
    where = annotations or videos
    lists = [where] if where.suffix.lower() == ".csv" else sorted(where.glob("*.[cC][sS][vV]"))
    if not lists and annotations is None:
        lists = sorted(videos.resolve().parent.glob("*.[cC][sS][vV]"))
    if not lists or not all(path.is_file() for path in lists):
        raise VidsslError(f"annotations={str(where)!r}: no .csv; name the release's list, or a folder of lists")
    files = VideoFiles(videos, exact=True)
    parts: dict[str, list[Entry]] = {}
    for path in lists:
        for at, row in _rows(path):
            try:
                name = f"{row['youtube_id']}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
            except (ValueError, OverflowError) as error:
                raise VidsslError(
                    f"annotations: {path}: line {at}: {row}: times are not numbers ({error}); give seconds"
                ) from error
            part = row["split"] or path.stem
            if not is_plain(part):
                raise VidsslError(
                    f"annotations: {path}: line {at}: split={part!r}: a part's lists are named after it; give a word "
                    "that can be part of a file's name, such as train"
                )
            entry = files.entry(name, f"{name}.mp4", clean_label(row.get("label")), row["youtube_id"])
            parts.setdefault(part, []).append(entry)
    problems = files.problems() + empty_files(parts)
    for part, entries in parts.items():
        problems += duplicate_names(entries, part)
    notes = (
        ["videos disappear from YouTube, so copies differ; report the number of videos with each result"]
        if parts
        else []
    )
    return Dataset(name="kinetics", parts=parts, extra=files.unused(), problems=problems, notes=notes + files.notes)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a list with their line numbers."""
    where = f"annotations: {path}"
    text = read_list_text(path, where)
    header, rows = read_table(text, f"{where}:", delimiter_of(text, COLUMNS) or ",")
    lacking = [name for name in COLUMNS if name not in header]
    if lacking:
        raise VidsslError(f"{where}: lacks the columns {', '.join(lacking)}; the release has label,{','.join(COLUMNS)}")
    return rows
