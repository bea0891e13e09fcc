"""The table of what a wheel costs to install and to import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.harness import commit, lay


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each wheel. Seconds and megabytes are beside a torch that is there; empty: not measured."""
    head = (
        "wheel",
        "its torch",
        "wheel, MB",
        "download, MB",
        "installed: s, MB",
        "imports, s",
        "demo, s",
        "extras: s, MB",
        "commit",
    )
    rows = []
    for line in lines:
        imports = (f"{name} {took['median']:.2f}" for name, took in line.get("import_seconds", {}).items())
        extras = (f"{name} {_spent(spent)}" for name, spent in line.get("extras", {}).items())
        cells = [
            line["wheel"],
            line["torch"] or line.get("skipped", "none"),
            f"{line['wheel_megabytes']:.2f}" if "wheel_megabytes" in line else "",
            f"{line['download_megabytes']:.0f}" if "download_megabytes" in line else "",
            _spent(line["installed"]) if "installed" in line else "",
            "; ".join(imports),
            f"{line['demo_seconds']:.0f}" if "demo_seconds" in line else "",
            "; ".join(extras),
        ]
        rows.append([*cells, commit(line)])
    return lay(head, rows)


def _spent(found: dict[str, float]) -> str:
    return f"{found['seconds']:.1f}, {found['megabytes']:.0f}"
