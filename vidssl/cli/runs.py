"""The subcommand `runs`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def runs(folder: Positional[Path], *, out: Path | None = None, allow_outside: bool = False) -> None:
    """Compare runs: a line for each, what their recipes differ in, and their curves as one picture.

    Args:
        folder: A folder with runs in it or below; or one run.
        out: Picture (.png) of the curves; none writes FOLDER/runs.png.
        allow_outside: Take runs too whose files are links that lead out of the run's folder.
    """
    from vidssl.report.table import draw, find_runs, text

    found = find_runs(folder, allow_outside=allow_outside)
    print(text(found))
    target = out if out is not None else folder / "runs.png"
    draw(found, target)
    print(f"\nwrote {target}")
