"""What each tiny recipe learns of its own task on which clips: of the results of bench_recipes and of bench_time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.bench_time import recipe_of
from benchmarks.harness import commit, lay
from vidssl.pretext import chances
from vidssl.train.heldout import no_better

Line = dict[str, Any]
SETS = ("tennis", "fights", "weizmann")
STEPS = 2_000  # of the runs of bench_time on all clips
_PART = "training groups"  # of which a part is held out
# Rows: what is called how, the variant of bench_recipes, and the method of bench_time.
ROWS = (
    ("`odd_one_out_tiny`", "odd_one_out_tiny", "odd_one_out_tiny"),
    ("`vcop_r3d_tiny`", "vcop_r3d_tiny", "vcop_r3d_tiny"),
    ("the same, a cosine schedule", "vcop_difference", ""),
    ("the same, frames instead of differences", "vcop", ""),
    ("`shuffle_learn_tiny`", "shuffle_learn_tiny", "shuffle_learn_tiny"),
    ("`opn_tiny`", "opn_tiny", "opn_tiny"),
    ("`pace_r3d_tiny`", "pace_r3d_tiny", "pace_r3d_tiny"),
    ("`arrow_r3d_tiny`", "arrow_r3d_tiny", "arrow_r3d_tiny"),
    ("`vcop_r3d_tiny --pretext vcop,pace,arrow`", "", "vcop_r3d_tiny:vcop,pace,arrow"),
)


def table(lines: Iterable[Line]) -> str:
    """Markdown: a row for each recipe, a column for each set; percent of the held-out tuples. Bold: above chance."""
    found = list(lines)
    rows = []
    for called, variant, method in ROWS:
        alone = [_longest([line for line in found if _is_of(line, name, variant)]) for name in SETS]
        together = [line for line in found if line["bench"] == "time" and line["method"] == method and method]
        together = [line for line in together if line["form"] == "inductive" and line["steps"] >= STEPS]
        together = [line for line in together if line["encoder"] == recipe_of(method, 0, STEPS).encoder]  # as it is now
        longer = sorted({line["steps"] for line in together} - {STEPS})
        used = [*(line for some in alone for line in some), *together]
        if used:
            commits = ", ".join(sorted({commit(line) for line in used}))
            more = "; ".join(f"{_together(together, steps)}, {steps:,} steps" for steps in longer)
            rows.append([called, *map(_alone, alone), _together(together, STEPS), more, commits])
    everything = f"all clips but test groups, {STEPS:,} steps, a figure a seed"
    return lay(["recipe", *SETS, everything, "the same, more steps", "commit"], rows)


def _is_of(line: Line, name: str, variant: str) -> bool:
    return line["bench"] == "recipes" and line["workload"].split(", ")[0] == name and _variant(line) == variant


def _variant(line: Line) -> str:
    return str(line["workload"].split(", ")[2])


def _longest(lines: list[Line]) -> list[Line]:
    """The lines of the longest runs: one for each seed."""
    return [line for line in lines if line["steps"] == max(one["steps"] for one in lines)]


def _alone(lines: list[Line]) -> str:
    """A cell of one set."""
    cells = []
    for line in lines:
        right = f"{100 * line['accuracy']:.1f}"
        right = f"**{right}**" if line["low"] > line["chance"] else right
        cells.append(f"{right} [{100 * line['low']:.1f}, {100 * line['high']:.1f}] of {line['tuples']}")
    if not lines:
        return ""
    chosen = "; settings chosen on these" if _PART in lines[0]["workload"] else ""
    return f"{'; '.join(cells)} (chance {100 * lines[0]['chance']:.1f}; {lines[0]['steps']:,} steps{chosen})"


def _together(lines: list[Line], steps: int) -> str:
    """A cell of all sets together, each task of a run by itself. Seeds may ask about a few tuples more or fewer."""
    lines = sorted((line for line in lines if line["steps"] == steps), key=lambda line: line["seed"])
    if not lines:
        return ""
    parts = []
    for name, chance in chances(recipe_of(lines[0]["method"], 0, lines[0]["steps"]).pretext.objectives).items():
        asked = [line["task"][f"val/{name.replace('accuracy', 'tuples', 1)}"] for line in lines]
        right = [line["task"][f"val/{name}"] for line in lines]
        figures = [
            f"{100 * one:.1f}" if no_better(one, tuples, chance) else f"**{100 * one:.1f}**"
            for one, tuples in zip(right, asked, strict=True)
        ]
        count = " to ".join(f"{tuples:.0f}" for tuples in sorted({min(asked), max(asked)}))
        about = f"of {count} (chance {100 * chance:.1f})"
        parts.append(f"{name.partition('/')[2]} {', '.join(figures)} {about}".strip())
    return "; ".join(parts)
