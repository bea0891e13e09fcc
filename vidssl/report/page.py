"""The page: a table of all runs, their curves, and each run's results."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vidssl.paths import check_output, input_path, printable, write_output
from vidssl.plots.confusion import svg_confusion
from vidssl.plots.palette import BLUE, GRID, INK, PAPER, SOFT, WRONG
from vidssl.report.charts import curves_html
from vidssl.report.overview import levels, overview, warnings
from vidssl.report.parts import cell, table, text
from vidssl.report.read import RunRecord, read_runs
from vidssl.train.config import flat
from vidssl.types import VidsslError
from vidssl.versions import versions

CSS = (
    f":root{{color-scheme:light dark;--paper:{PAPER};--ink:{INK};--soft:{SOFT};--grid:{GRID};--blue:{BLUE};"
    f"--wrong:{WRONG}}}"
    """
@media(prefers-color-scheme:dark){
:root{--ink:#f5f5f7;--soft:#a1a1a6;--grid:#3a3a3c;--blue:#7fb0e8;--paper:#1c1c1e;--wrong:#ff7b72}
.charts polyline,.charts line:not(.grid),.charts circle,.legend i{filter:brightness(1.5)}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1340px;margin:0 auto;
padding:28px;overflow-wrap:anywhere}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:40px 0 8px;border-top:1px solid var(--grid);padding-top:24px}
h3{font-size:16px;margin:26px 0 6px}
p{margin:6px 0}.soft{color:var(--soft);font-size:13px}
.warning{border-left:3px solid var(--wrong);padding-left:10px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:12px}
table{border-collapse:collapse;margin:8px 0;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:left;white-space:nowrap;vertical-align:top}
th{font-weight:600;border-bottom:1px solid var(--soft)}td{border-bottom:1px solid var(--grid)}
td small{color:var(--soft)}.stacked small{display:block}.wide{overflow-x:auto}
svg{max-width:100%;height:auto}svg .title{font:600 13px system-ui,sans-serif;fill:var(--ink)}
svg .tick{font:11px system-ui,sans-serif;fill:var(--soft)}
svg .count{font:10px system-ui,sans-serif;fill:var(--ink)}svg .grid{stroke:var(--grid)}
img{max-width:100%;height:auto;border:1px solid var(--grid)}
.legend span{margin-right:18px;display:inline-block}
.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px}
details{margin:8px 0}summary{cursor:pointer;color:var(--blue)}
@media(max-width:600px){body{padding:16px}td small{display:block}}
"""
)
_PNG = b"\x89PNG\r\n\x1a\n"
_BEGINS = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>vidssl report</title>'
_MANY = 5  # columns of a table that fits beside its intervals; with more, these are below the figures
_VIEWPORT = '<meta name="viewport" content="width=device-width,initial-scale=1">'  # else a phone shrinks the page
# What each evaluation asks, by the beginning of its file's name; the page shows them in this order.
_ASKED = {
    "pretext": "How accurate is the run in its own task, on these videos?",
    "time": "Do the features know in which direction, in which order and how fast a clip is played? With labels: how "
    "much of the class is read from the order?",
    "retrieval": "R@k: is one of the k nearest videos of the same class?",
    "probe": "Can a linear model, or the k nearest neighbours (k-NN), tell the classes from frozen features?",
    "attentive": "Can a small transformer tell the classes from the last map of the frozen encoder, which has where "
    "and when?",
    "complement": "Do the run's features (A) add anything to others (B)?",
    "finetune": "How accurate is the encoder after further training with labels?",
}


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
    page = f"{_BEGINS}{_VIEWPORT}<style>{CSS}</style></head><body>\n"
    text = page + "\n".join(part for part in body if part) + "\n</body></html>\n"
    write_output(out, text, argument="report: out")
    return out


def _body(found: Sequence[RunRecord], allow_outside: bool) -> list[str]:
    return [
        "<h1>vidssl report</h1>",
        f'<p class="soft">{len(found)} run(s); written {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; '
        f"{text(_versions_text(versions()))}</p>",
        overview(found),
        curves_html(found, {run.name: levels(run) for run in found}),
        *(_run(run, allow_outside) for run in found),
    ]


def _run(run: RunRecord, allow_outside: bool) -> str:
    recipe, seen = run.meta["recipe"], run.meta
    settings = _settings({"settings": recipe})
    about = (
        f"{seen['videos']} videos (fingerprint {seen['data']}), step {seen['step']:,}, seed {recipe['train']['seed']}"
    )
    parts = [
        f"<h2>{text(run.name)}</h2>",
        f"<p>{text(recipe['method'])} with {text(recipe['encoder'])}: {text(about)}.</p>",
        f'<p class="soft">{text(str(run.folder))}; {text(_versions_text(seen["versions"]))}</p>',
        f"<details><summary>All settings</summary>{table(['setting', 'value'], settings)}</details>",
        *(f'<p class="warning">{text(line[:1].upper() + line[1:])}.</p>' for line in warnings(run)),
        *(_result(run, name, run.results[name], allow_outside) for name in sorted(run.results, key=_place)),
    ]
    if not run.results:
        parts.append(
            "<p>Not evaluated: <code>vidssl evaluate retrieval | probe | attentive | finetune | complement RUN "
            "--train ...</code></p>"
        )
    return "\n".join(parts)


def _kind(name: str) -> str:
    """The evaluation that wrote a file: "finetune" for "finetune_scratch_split1"; "" if it is not known."""
    return next((kind for kind in _ASKED if name == kind or name.startswith(f"{kind}_")), "")


def _place(name: str) -> tuple[int, str]:
    return list(_ASKED).index(_kind(name)) if _kind(name) else len(_ASKED), name


def _result(run: RunRecord, name: str, found: Mapping[str, Any], allow_outside: bool) -> str:
    columns = list(dict.fromkeys(column for row in found["numbers"].values() for column in row))
    rows = []
    for row, cells in found["numbers"].items():
        rows.append([text(row), *(cell(cells[column]) if column in cells else "" for column in columns)])
    counts = ", ".join(f"{count} {what}" for what, count in found["counts"].items())
    parts = [
        f"<h3>{text(name.replace('_', ' '))}</h3>",
        f"<p>{text(_ASKED.get(_kind(name), ''))}</p>",
        table(["% [95 % interval]", *columns], rows, kind="stacked" if len(columns) > _MANY else ""),
        f"<p>{text(counts)}; {text(found['split'])}.</p>",
        *(f"<p>{text(note)}</p>" for note in found["notes"]),
        f'<p class="soft">{text(found["protocol"])}; step {found["step"]:,}, seed {text(found["seed"])}, '
        f"{text(found.get('weights', 'raw'))} weights</p>",
        f"<details><summary>Settings</summary>{table(['setting', 'value'], _settings(found))}</details>",
    ]
    for label, file in found.get("images", {}).items():
        path = input_path(run.folder, file, allow_outside=allow_outside)
        if path.is_file():
            data = base64.b64encode(_picture(path)).decode()
            parts.append(f'<p><img alt="{text(label)}" width="760" src="data:image/png;base64,{data}"></p>')
    tables = found.get("detail", {}).get("confusion", {})
    if tables:
        label, matrix = next(iter(tables.items()))
        parts.append(
            svg_confusion(
                f"{name}, {label}: true class (rows), predicted class (columns)", matrix["classes"], matrix["table"]
            )
        )
    return "\n".join(parts)


def _settings(found: Mapping[str, Any]) -> list[list[str]]:
    return [[text(name), text(repr(value))] for name, value in flat(found.get("settings", {})).items()]


def _picture(path: Path) -> bytes:
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            raise VidsslError(f"report: {printable(path)}: it is not a PNG picture; evaluate the run again")
        return _PNG + file.read()


def _versions_text(found: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version[:12]}" for name, version in found.items() if name in ("vidssl", "python", "torch", "commit")
    )
