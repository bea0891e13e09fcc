"""The page: a table of all runs, their curves, and each run's results."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

from vidssl.evaluate.confidence import wilson
from vidssl.paths import atomic_write, check_output, input_path, printable
from vidssl.plots.confusion import svg_confusion
from vidssl.plots.curves import html_legend, svg_curves
from vidssl.plots.palette import BLUE, GRID, INK, SOFT
from vidssl.report.read import RunRecord, read_runs
from vidssl.train.config import flat, recipe_from
from vidssl.train.log import METRICS
from vidssl.types import VidsslError
from vidssl.versions import versions

CSS = (
    f":root{{--ink:{INK};--soft:{SOFT};--grid:{GRID};--blue:{BLUE}}}"
    """
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff;max-width:1340px;margin:0 auto;padding:28px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:40px 0 8px;border-top:1px solid var(--grid);padding-top:24px}
h3{font-size:16px;margin:22px 0 6px}
p{margin:6px 0}.soft{color:var(--soft);font-size:13px}.charts{display:flex;flex-wrap:wrap;gap:12px}
table{border-collapse:collapse;margin:8px 0;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:left;white-space:nowrap}
th{font-weight:600;border-bottom:1px solid #c7c7cc}td{border-bottom:1px solid #f0f0f3}
td small{color:var(--soft)}.wide{overflow-x:auto}
svg{max-width:100%;height:auto}svg .title{font:600 13px system-ui,sans-serif}
svg .tick{font:11px system-ui,sans-serif;fill:var(--soft)}
svg .count{font:10px system-ui,sans-serif}svg .grid{stroke:var(--grid)}img{max-width:100%;border:1px solid var(--grid)}
.legend span{margin-right:18px;white-space:nowrap}
.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px}
details{margin:8px 0}summary{cursor:pointer;color:var(--blue)}
"""
)
_PNG = b"\x89PNG\r\n\x1a\n"
# The numbers that the table of all runs shows: (file of the result, column, heading), one for each row of an encoder.
_SHOWN = (
    ("retrieval", "R@1", "retrieval R@1"),
    ("probe", "linear", "linear probe"),
    ("finetune", "accuracy", "fine-tuned"),
    ("finetune_scratch", "accuracy", "from scratch"),
)

_BEGINS = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>vidssl report</title>'


def _html(text: object) -> str:
    """Text as HTML that shows it as it is, control characters escaped."""
    return escape(printable(text))


def write_report(runs: Sequence[Path], out: Path, *, allow_outside: bool = False) -> Path:
    """Write one HTML file about runs, with all that it shows in it.

    Args:
        runs: Folders of runs, or checkpoints.
        out: The file to write.
        allow_outside: Accept runs that name files outside their folders.

    Raises:
        VidsslError: A folder is not a run, names a file that is not a picture or lies outside, or `out` cannot be
            written.
    """
    if not runs:
        raise VidsslError("report: runs=[]: name at least one folder that `vidssl train` wrote")
    check_output(out, ".html", _BEGINS)
    found = read_runs(list(runs), allow_outside=allow_outside)
    try:
        body = _body(found, allow_outside)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise VidsslError(
            f"report: runs={[str(run) for run in runs]}: a file in one is not in the format that vidssl writes "
            f"({error!r}); remove it, or evaluate again"
        ) from error
    page = f"{_BEGINS}<style>{CSS}</style></head><body>\n"
    try:
        with atomic_write(out) as aside:
            aside.write_text(page + "\n".join(part for part in body if part) + "\n</body></html>\n", encoding="utf-8")
    except OSError as error:
        raise VidsslError(
            f"report: out={str(out)!r}: {error.strerror or error}; name a file that can be written"
        ) from error
    return out


def _body(found: Sequence[RunRecord], allow_outside: bool) -> list[str]:
    return [
        "<h1>vidssl report</h1>",
        f'<p class="soft">{len(found)} run(s); written {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; '
        f"{_html(_versions_text(versions()))}</p>",
        _overview(found),
        "<h2>Training</h2>",
        html_legend([run.name for run in found]) if len(found) > 1 else "",
        f'<div class="charts">{_charts(found)}</div>',
        *(_run(run, allow_outside) for run in found),
    ]


def _overview(runs: Sequence[RunRecord]) -> str:
    """The table of all runs: their recipes, and the main figure of each evaluation, trained and untrained."""
    kinds = sorted({kind for run in runs for kind in run.results})
    given = [(kind, "accuracy", f"fine-tuned {kind[9:]}") for kind in kinds if kind.startswith("finetune_from_")]
    columns = [shown for shown in (*_SHOWN, *given) if shown[0] in kinds]
    head = ["run", "task", "encoder", "step", "validation accuracy, %", *(heading for _, _, heading in columns)]
    rows = []
    for run in runs:
        recipe, last = run.meta["recipe"], {name: curve[-1][1] for name, curve in run.curves.items() if curve}
        cells = [_html(run.name), _html(recipe["method"]), _html(recipe["encoder"]), f"{run.meta['step']:,}"]
        cells.append("<br>".join(_validation(recipe, last)))
        for kind, column, _ in columns:
            numbers = run.results.get(kind, {}).get("numbers", {})
            shown = (
                f"{_html(name)} {_cell(row[column])}"
                for name, row in numbers.items()
                if column in row and name != "chance"
            )
            cells.append("<br>".join(shown))
        rows.append(cells)
    return _table(head, rows) + "".join(_unlike(runs, kind, heading) for kind, _, heading in columns)


def _validation(recipe: Mapping[str, Any], last: Mapping[str, float]) -> list[str]:
    """The last accuracy of each task on held-out tuples, with its interval, the number of tuples, and chance."""
    try:
        chance = {one.metric("accuracy"): one.chance for one in recipe_from(dict(recipe)).pretext.objectives}
    except VidsslError:  # a task of somebody else's, which is not imported
        chance = {}
    lines = []
    for name, accuracy in last.items():
        if f"{name}/".startswith("val/accuracy/"):
            count = last.get(name.replace("accuracy", "tuples", 1), 0)
            about = []
            if count:
                low, high = wilson(accuracy * count, count)
                about.append(f"[{100 * low:.1f}, {100 * high:.1f}] of {count:.0f} tuples")
            if (guessed := chance.get(name[4:])) is not None:
                about.append(f"chance {100 * guessed:.1f}")
            lines.append(f"{_html(f'{name[13:]} {100 * accuracy:.1f}'.strip())} <small>{', '.join(about)}</small>")
    return lines


def _unlike(runs: Sequence[RunRecord], kind: str, heading: str) -> str:
    """A warning if results of one kind are not comparable: on different videos, or split in different ways."""
    found = {run.name: run.results[kind] for run in runs if kind in run.results}
    used = {name: (one["data"]["train"], one["data"]["test"], one["split"]) for name, one in found.items()}
    if len(set(used.values())) < 2:
        return ""
    sets = "; ".join(
        f"{name}: {one['data']['test_videos']} videos of {one['data']['test_root']}" for name, one in found.items()
    )
    return f'<p class="soft">Not comparable, because the test videos differ: {_html(heading)} ({_html(sets)}).</p>'


def _charts(runs: Sequence[RunRecord]) -> str:
    found = sorted({name for run in runs for name, curve in run.curves.items() if curve})
    names = [name for base in METRICS for name in found if name == base or name.startswith(f"{base}/")]
    return "".join(svg_curves(name, {run.name: run.curves.get(name, []) for run in runs}) for name in names)


def _run(run: RunRecord, allow_outside: bool) -> str:
    recipe, seen = run.meta["recipe"], run.meta
    settings = [[_html(key), _html(repr(value))] for key, value in flat(recipe).items()]
    about = (
        f"{seen['videos']} videos (fingerprint {seen['data']}), step {seen['step']:,}, seed {recipe['train']['seed']}"
    )
    parts = [
        f"<h2>{_html(run.name)}</h2>",
        f"<p>{_html(recipe['method'])} with {_html(recipe['encoder'])}: {_html(about)}.</p>",
        f'<p class="soft">{_html(str(run.folder))}; {_html(_versions_text(seen["versions"]))}</p>',
        f"<details><summary>All settings</summary>{_table(['setting', 'value'], settings)}</details>",
        *(_result(run, name, found, allow_outside) for name, found in run.results.items()),
    ]
    if not run.results:
        parts.append(
            "<p>Not evaluated: <code>vidssl evaluate retrieval | probe | finetune | complement RUN --train ...</code>"
            "</p>"
        )
    return "\n".join(parts)


def _result(run: RunRecord, name: str, found: Mapping[str, Any], allow_outside: bool) -> str:
    columns = list(dict.fromkeys(column for row in found["numbers"].values() for column in row))
    rows = []
    for row, cells in found["numbers"].items():
        rows.append([_html(row), *(_cell(cells[column]) if column in cells else "" for column in columns)])
    counts = ", ".join(f"{count} {what}" for what, count in found["counts"].items())
    parts = [
        f"<h3>{_html(name.replace('_', ' '))}</h3>",
        _table(["%, with 95 % confidence interval", *columns], rows),
        f"<p>{_html(counts)}; {_html(found['split'])}.</p>",
        *(f"<p>{_html(note)}</p>" for note in found["notes"]),
        f'<p class="soft">{_html(found["protocol"])}; step {found["step"]:,}, seed {_html(found["seed"])}</p>',
    ]
    for label, file in found.get("images", {}).items():
        path = input_path(run.folder, file, allow_outside=allow_outside)
        if path.is_file():
            data = base64.b64encode(_picture(path)).decode()
            parts.append(f'<p><img alt="{_html(label)}" width="760" src="data:image/png;base64,{data}"></p>')
    tables = found.get("detail", {}).get("confusion", {})
    if tables:
        label, matrix = next(iter(tables.items()))
        parts.append(
            svg_confusion(
                f"{name}, {label}: true class (rows), predicted class (columns)", matrix["classes"], matrix["table"]
            )
        )
    return "\n".join(parts)


def _picture(path: Path) -> bytes:
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            raise VidsslError(f"report: {printable(path)}: it is not a PNG picture; evaluate the run again")
        return _PNG + file.read()


def _cell(one: Mapping[str, float | None]) -> str:
    low, high = one["low"], one["high"]
    interval = "" if low is None or high is None else f" <small>[{100 * low:.1f}, {100 * high:.1f}]</small>"
    return f"{100 * (one['value'] or 0.0):.1f}{interval}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML already, the head is not."""
    top = "".join(f"<th>{_html(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _versions_text(found: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version[:12]}" for name, version in found.items() if name in ("vidssl", "python", "torch", "commit")
    )
