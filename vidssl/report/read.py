"""Reads a run's folder: its checkpoint, its log and the results of its evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidssl.files import byte_lines, parse_json, read_text
from vidssl.paths import input_path
from vidssl.plots.curves import Curve
from vidssl.train import checkpoint
from vidssl.types import VidsslError

# A JSON file with these keys is the result of an evaluation.
_RESULT_KEYS = {"kind", "protocol", "numbers", "split", "counts", "notes", "step", "seed"}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run, as its folder records it.

    Attributes:
        name: Short name, unique among the runs that were read together.
        folder: Folder of the run.
        meta: Contents of the checkpoint's meta.json.
        curves: Curves of the log, by metric.
        results: JSON files of `vidssl evaluate`, by the file's name without .json.
    """

    name: str
    folder: Path
    meta: Mapping[str, Any]
    curves: Mapping[str, Curve]
    results: Mapping[str, Mapping[str, Any]]


def read_runs(runs: list[Path], *, allow_outside: bool = False) -> list[RunRecord]:
    """Reads runs.

    Args:
        runs: Folders of runs, or checkpoints.
        allow_outside: Accept runs that name files outside their folders.

    Returns:
        The runs, in the same order.

    Raises:
        VidsslError: A folder is not a run, or names files outside itself.
    """
    found = [checkpoint.locate(run, allow_outside=allow_outside) for run in runs]
    names = _names([folder for folder, _ in found])
    return [
        RunRecord(
            name=name,
            folder=folder,
            meta=checkpoint.load_meta(path, "recipe", "step", "data", "videos", "versions"),
            curves=read_curves(input_path(folder, "metrics.jsonl", allow_outside=allow_outside)),
            results=read_results(folder, allow_outside=allow_outside),
        )
        for (folder, path), name in zip(found, names, strict=True)
    ]


def read_curves(path: Path) -> dict[str, Curve]:
    """Reads the curves of a log, by metric. Truncated lines and values that are not finite are left out."""
    curves: dict[str, Curve] = {}
    if not path.is_file():
        return curves
    try:
        for line in byte_lines(path):
            _add_points(curves, line.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise VidsslError(f"{path}: this log cannot be read ({error}); remove it, or leave the run out") from error
    return curves


def _add_points(curves: dict[str, Curve], text: str) -> None:
    """Adds what a line of a log says."""
    try:
        line = parse_json(text)
    except ValueError:
        return
    if not isinstance(line, dict) or not isinstance(line.get("step"), (int, float)):
        return
    for name, value in line.items():
        if "/" in name and isinstance(value, (int, float)) and math.isfinite(value):
            curves.setdefault(name, []).append((float(line["step"]), float(value)))


def read_results(folder: Path, *, allow_outside: bool = False) -> dict[str, Mapping[str, Any]]:
    """Reads the results that `vidssl evaluate` wrote into a run's folder, by the file's name without .json."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            about = parse_json(read_text(input_path(folder, path.name, allow_outside=allow_outside)))
        except (OSError, ValueError):
            continue
        if isinstance(about, dict) and about.keys() >= _RESULT_KEYS:
            found[path.stem] = about
    return found


def _names(folders: list[Path]) -> list[str]:
    """Names of as few trailing parts of the paths as make them unique."""
    for parts in range(1, max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            return names
    return [str(folder) for folder in folders]
