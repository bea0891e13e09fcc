"""Small labelled sets of clips for the benchmarks of real video."""

from __future__ import annotations

from pathlib import Path

from tests.clips import make_clip
from vidssl.index.lists import write_list


def labelled_set(root: Path, name: str, *, per_group: int) -> None:
    """Writes twelve clips of two classes to root/name, and their list, root/name.csv, with groups of `per_group`."""
    rows = []
    for number in range(12):
        path = root / name / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, frames=36, gop=12, size=(48 + 4 * (number % 2), 64))
        rows.append((f"{name}/{number}.mp4", "ab"[number % 2], f"scene{number // per_group}"))
    write_list(root / f"{name}.csv", rows)
