"""The directive `chart NAME`: a benchmark as bars, from its newest committed results.

Bars are HTML, so that they need no script and fit every theme and width.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from benchmarks.report import of_one_machine, read
from docs.tools.pages import ROOT

Line = dict[str, Any]


class Bar(NamedTuple):
    """A bar: its name, its length, what is written beside it, and a mark to compare it with, or None."""

    name: str
    value: float
    words: str
    mark: float | None = None


def store(lines: list[Line]) -> list[Bar]:
    """Later epochs from the store, against the fastest of the other libraries, which decode."""
    bars = []
    for line in lines:
        peers = [ratio["median"] for name, ratio in line["speedup"].items() if "," in name and "epoch" not in name]
        bars.append(Bar(line["workload"].split(",")[0], min(peers), f"{min(peers):.0f} x", 1.0))
    return bars


def peers(lines: list[Line]) -> list[Bar]:
    """Decoding, against the fastest of the other libraries."""
    bars = []
    for line in lines:
        if not line["workload"].endswith("2 workers"):
            continue
        others = [ratio["median"] for name, ratio in line["speedup"].items() if "bound" not in name]
        bars.append(Bar(line["workload"].split(",")[0], min(others), f"{min(others):.2f} x", 1.0))
    return bars


def epochs(lines: list[Line]) -> list[Bar]:
    """The store against decoding each epoch, for every published method."""
    found = [(line["workload"], line["speedup"]["decoding each epoch"]["median"]) for line in lines]
    return [Bar(name, value, f"{value:.0f} x", 1.0) for name, value in found]


def formats(lines: list[Line]) -> list[Bar]:
    """The store against other frame stores with the same frames."""
    return [
        Bar(name, ratio["median"], f"{ratio['median']:.1f} x", 1.0)
        for line in lines
        for name, ratio in line["speedup"].items()
        if not name.startswith("vidssl")
    ]


def recipes(lines: list[Line]) -> list[Bar]:
    """Held-out tuples that the tiny recipes answer right, of groups that were set aside."""
    return [
        Bar(
            line["workload"].replace(", test groups", "").partition(", seed")[0],
            100 * line["accuracy"],
            f"{100 * line['accuracy']:.0f} %",
            100 * line["chance"],
        )
        for line in lines
        if "test groups" in line["workload"]
    ]


CHARTS: dict[str, tuple[str, str, Callable[[list[Line]], list[Bar]]]] = {
    "store": ("store_peers", "Times as fast as the fastest of five libraries that decode each epoch", store),
    "peers": ("peers", "Times as fast as the fastest of five libraries, all of which decode, with two workers", peers),
    "epochs": ("store_epochs", "Times as fast as decoding each epoch, by the recipe of each method", epochs),
    "formats": ("store_formats", "Times as fast as other stores of the same frames", formats),
    "recipes": ("recipes", "Held-out tuples answered right; the line is chance", recipes),
}  # the benchmark, the title, and how its lines become bars


def html(title: str, bars: list[Bar], about: str) -> str:
    """A figure: a row for each bar, and a line where its mark is."""
    top = max(max(bar.value, bar.mark or 0) for bar in bars)
    rows = []
    for bar in bars:
        mark = "" if bar.mark is None else f'<i style="left:{100 * bar.mark / top:.1f}%"></i>'
        rows.append(
            f'<div class="bar"><span>{escape(bar.name)}</span>'
            f'<span class="track"><b style="width:{100 * bar.value / top:.1f}%"></b>{mark}</span>'
            f"<span>{escape(bar.words)}</span></div>"
        )
    return (
        f'<figure class="bars" role="img" aria-label="{escape(title)}"><figcaption>{escape(title)}</figcaption>'
        f"{''.join(rows)}<small>{escape(about)}</small></figure>"
    )


class Chart(SphinxDirective):
    """The directive `chart`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The bars of a benchmark."""
        bench, title, make = CHARTS[self.arguments[0]]
        lines = of_one_machine(line for line in read(ROOT / "benchmarks/results") if line["bench"] == bench)
        machine = lines[-1]["machine"]
        about = (
            f"{machine['cpu']}, {machine['cores']} cores; {lines[-1]['date'][:10]}; benchmarks/results/{bench}_*.jsonl"
        )
        return [nodes.raw("", html(title, make(lines), about), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("chart", Chart)
    return {"parallel_read_safe": True}
