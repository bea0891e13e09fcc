"""Compares runs: their progress, the settings that differ, and their curves in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidssl.paths import input_path, printable
from vidssl.plots.curves import Curve, draw_curves
from vidssl.report.read import read_curves
from vidssl.train import checkpoint
from vidssl.train.config import flat
from vidssl.types import VidsslError

_NAMED = 3  # runs that share a value are counted if there are more
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run, as its folder records it.

    Attributes:
        name: Path of the run in the folder that was searched.
        settings: The recipe, flat.
        commit: First seven digits of the commit of vidssl that trained it; "" if it is not recorded.
        curves: Points (step, value), by metric.
        saved: Step of the latest checkpoint; None without a checkpoint.
    """

    name: str
    settings: dict[str, Any]
    commit: str
    curves: Mapping[str, Curve]
    saved: int | None

    @property
    def step(self) -> int:
        """The last step in the log, 0 for an empty log."""
        return int(max((curve[-1][0] for curve in self.curves.values()), default=0))

    def last(self, name: str) -> float | None:
        """The last value of a metric; None if the log has none."""
        found = self.curves.get(name)
        return found[-1][1] if found else None

    def best(self) -> tuple[float | None, float | None, int | None]:
        """Loss, accuracy and step of the validation with the lowest loss; None if the log has none."""
        found = self.curves.get("val/loss")
        if not found:
            return None, None, None
        step, loss = min(found, key=lambda point: point[1])
        return loss, dict(self.curves.get("val/accuracy", ())).get(step), int(step)


def find_runs(folder: Path, *, allow_outside: bool = False) -> list[RunSummary]:
    """Finds the runs in a folder and its subfolders.

    Args:
        folder: The folder, which may be a run itself.
        allow_outside: Accept links that lead out of a run's folder.

    Returns:
        The runs, sorted by path.

    Raises:
        VidsslError: There is no run, a run.json is corrupt, or a link leads out of a run's folder.
    """
    if not folder.is_dir():
        raise VidsslError(
            f"runs: {str(folder)!r}: no such folder; name one with runs of `vidssl train ... --out` in it"
        )
    found = [_read(path.parent, folder, allow_outside) for path in sorted(folder.rglob("metrics.jsonl"))]
    if not found:
        raise VidsslError(
            f"runs: {str(folder)!r}: no run in it or below; name a folder with runs of `vidssl train ... --out` in it"
        )
    return found


def _read(run: Path, folder: Path, allow_outside: bool) -> RunSummary:
    saved = checkpoint.complete(run)
    for name in ("run.json", "metrics.jsonl", *(str(path.relative_to(run) / "meta.json") for path in saved[-1:])):
        input_path(run, name, allow_outside=allow_outside)
    about: dict[str, Any] = {}
    if (run / "run.json").is_file():
        try:
            about = checkpoint.read_description(run / "run.json")
        except (OSError, ValueError) as error:
            raise VidsslError(
                f"runs: {str(run)!r}: run.json cannot be read ({error}); remove it, or this run"
            ) from error
    elif saved:
        about = checkpoint.load_meta(saved[-1])
    name = run.name if run == folder else str(run.relative_to(folder))
    settings = flat(about.get("recipe", {}))
    if "finetune.init" in about.get("fixed", {}):
        settings["method"] = f"{settings.get('method', '-')}, fine-tuned"
    if about.get("data") and "videos" in about:
        settings["data"] = f"{about['videos']} videos, {about['data']}"
    return RunSummary(
        name=name,
        settings=settings,
        commit=about.get("versions", {}).get("commit", "")[:7],
        curves=read_curves(run / "metrics.jsonl"),
        saved=int(saved[-1].name[5:]) if saved else None,
    )


def differences(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """The settings that differ: name to the value in each run, None where a run lacks the setting."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    found = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def text(runs: Sequence[RunSummary]) -> str:
    """A table for people: one line per run, then the settings that differ."""
    wide = max(len("run"), *(len(run.name) for run in runs)) + 2
    method_wide = max(15, *(len(printable(run.settings.get("method", "-"))) + 2 for run in runs))
    lines = [
        f"{'run':{wide}}{'method':{method_wide}s}{'encoder':14s}{'step':>7s}{'saved':>7s}{'loss':>8s}{'right':>7s}"
        f"{'best val':>10s}{'right':>7s}{'at step':>9s}{'clips/s':>9s}{'waits':>7s}"
    ]
    for run in runs:
        loss, right, at = run.best()
        cells = (
            (run.last("train/loss"), "{:8.4f}", 8),
            (run.last("train/accuracy"), "{:7.1%}", 7),
            (loss, "{:10.4f}", 10),
            (right, "{:7.1%}", 7),
            (at, "{:9d}", 9),
            (run.last("train/clips_per_second"), "{:9.1f}", 9),
            (run.last("train/data_wait"), "{:7.0%}", 7),
        )
        figures = "".join("-".rjust(width) if value is None else form.format(value) for value, form, width in cells)
        saved = "-" if run.saved is None else str(run.saved)
        method, encoder = (printable(run.settings.get(key, "-")) for key in ("method", "encoder"))
        who = f"{method:{method_wide}s}{encoder:14s}"
        lines.append(f"{printable(run.name):{wide}}{who}{run.step:>7d}{saved:>7s}{figures}")
    changed = differences(runs)
    if len(runs) > 1:
        lines.append("\nsettings that differ:" if changed else "\nno setting differs")
    setting_wide = max((len(printable(name)) for name in changed), default=0) + 2
    for name, values in changed.items():
        lines.append(f"  {printable(name):{setting_wide}}{_who_has(values, [run.name for run in runs])}")
    return printable("\n".join(lines), lines=True)


def _who_has(values: Sequence[Any], names: Sequence[str]) -> str:
    """The values, the most frequent one first, and which runs have them."""
    having: dict[str, list[str]] = {}
    for value, name in zip(values, names, strict=True):
        having.setdefault("none" if value is None else printable(value), []).append(printable(name))
    groups = sorted(having.items(), key=lambda item: -len(item[1]))
    return "; ".join(
        f"{value} ({', '.join(some) if len(some) <= _NAMED else f'{len(some)} runs'})" for value, some in groups
    )


def draw(runs: Sequence[RunSummary], path: Path) -> None:
    """Writes a PNG with a panel for each metric of CURVES and one line per run.

    Raises:
        VidsslError: `path` does not end in .png or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise VidsslError(f"runs: out={str(path)!r}: the picture is a PNG; name a .png file")
    title = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    panels = {name: [run.curves.get(name, []) for run in runs] for name in CURVES}
    try:
        draw_curves(title, [run.name for run in runs], panels).save(path)
    except OSError as error:
        raise VidsslError(
            f"runs: out={str(path)!r}: {error}; name a .png file in a folder that can be written"
        ) from error
