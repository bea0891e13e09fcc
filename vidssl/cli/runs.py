"""The subcommand `runs`."""

from __future__ import annotations

from pathlib import Path

from vidssl.cli.arguments import FolderPath


def runs(folder: FolderPath, *, out: Path | None = None, allow_outside: bool = False) -> None:
    """Compare runs: one line per run, the settings that differ, and the curves in one picture.

    Args:
        folder: A folder with runs in it or in its subfolders, or one run.
        out: Picture (.png) of the curves; None writes FOLDER/runs.png.
        allow_outside: Accept links that lead out of a run's folder.
    """
    from vidssl.report.table import draw, find_runs, text

    found = find_runs(folder, allow_outside=allow_outside)
    print(text(found))
    target = out if out is not None else folder / "runs.png"
    draw(found, target)
    print(f"\nwrote {target}")
