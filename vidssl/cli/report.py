"""The subcommand `report`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from vidssl.cli.arguments import Runs
from vidssl.report import write_report


def report(runs: Positional[Runs], *, out: Path = Path("report.html"), allow_outside: bool = False) -> None:
    """Write one HTML page about runs: curves, results of evaluations, pictures. It opens from disk, without a network.

    Args:
        runs: Folders of runs, or checkpoints.
        out: File to write.
        allow_outside: Accept runs that name files outside their folders.
    """
    print(f"wrote {write_report(runs, out, allow_outside=allow_outside)}")
