"""The directives `task`, `plan` and `audit`: a recipe's task as a picture of the demo, its table, and its audit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from benchmarks.report import read
from benchmarks.shortcuts_table import table as audit_table
from docs.tools.commands import WORK
from docs.tools.executed import picture
from docs.tools.pages import ROOT
from vidssl import Augment, Loader, PlanSpec, VideoIndex
from vidssl.plots.palette import BLUE, INK, SOFT
from vidssl.plots.pen import Pen
from vidssl.pretext import Pretext
from vidssl.recipes import RECIPES

SCENE = "car"  # the scene of the demo that the pictures show
CELL, GAP, LEFT, EDGE = 68, 3, 128, 16  # of a picture, in points
COLUMNS, EXAMPLES, ROWS = 8, 2, 6  # frames of a row; tuples in a picture; rows of the table


class Example(NamedTuple):
    """A tuple: frames float [K, 3, T, H, W] in 0..1, numbers of frames int [K, T], and its class."""

    clips: npt.NDArray[np.float32]
    frame: npt.NDArray[np.int64]
    label: int


def enlarged(pretext: Pretext) -> Pretext:
    """The task with pictures twice as large, in their own colours, not mirrored."""
    look = pretext.augment
    sizes = {
        name: tuple(2 * side for side in value)
        for name in ("resize", "crop", "region")
        if (value := getattr(look, name)) is not None
    }
    plain = Augment(**sizes, crop_scope=look.crop_scope, jitter=2 * look.jitter)
    return replace(pretext, augment=plain)


def examples(pretext: Pretext, count: int) -> list[Example]:
    """Tuples of different classes, of one scene of the demo."""
    index = VideoIndex.load(WORK / "demo/index.arrow", root=WORK / "demo/scenes")
    rows = [row for row in range(len(index)) if index.video(row).path.parent.name == SCENE]
    found: dict[int, Example] = {}
    with Loader(index.select(rows), pretext, batch_size=4, seed=1, workers=1, device="cpu") as loader:
        while len(found) < count:
            for batch in loader:
                for clips, frame, label, status in zip(
                    batch.clips.numpy(), batch.frame.numpy(), batch.label.tolist(), batch.status.tolist(), strict=True
                ):
                    if not status:
                        found.setdefault(label, Example(clips, frame, label))
    return [found[label] for label in sorted(found)[:count]]


def draw(pretext: Pretext, path: Path) -> None:
    """Write a PNG of some tuples: a row for each clip, or one row of frames where a slot shows one frame."""
    found = examples(pretext, min(EXAMPLES, pretext.plan.classes))
    single = pretext.plan.times == 1
    strips = [_strips(one, single) for one in found]
    height = sum(34 + len(one) * (CELL + 18) for one in strips)
    columns = max(len(strip[1]) for one in strips for strip in one)
    pen = Pen(EDGE + LEFT + columns * (CELL + GAP) + EDGE, height + EDGE, scale=2)
    top = 8.0
    for one, rows in zip(found, strips, strict=True):
        pen.text(EDGE, top + 16, f"label: {pretext.class_names[one.label]}", BLUE, 15)
        top += 34
        for words, pictures, numbers in rows:
            pen.text(EDGE, top + CELL / 2, words, INK, 13)
            for column, (shown, number) in enumerate(zip(pictures, numbers, strict=True)):
                x = EDGE + LEFT + column * (CELL + GAP)
                pen.picture(x, top, shown, (CELL, CELL))
                pen.text(x + CELL / 2, top + CELL + 8, str(number), SOFT, 10, "mm")
            top += CELL + 18
    pen.save(path)


def _strips(one: Example, single: bool) -> list[tuple[str, list[npt.NDArray[np.uint8]], list[int]]]:
    """Of each row of the picture: its name, frames uint8 [H, W, 3] and their numbers."""
    pictures = (255 * one.clips.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 4, 1)  # [K, T, H, W, 3]
    if single:
        return [("slots, in order", list(pictures[:, 0]), one.frame[:, 0].tolist())]
    times = np.unique(np.linspace(0, pictures.shape[1] - 1, COLUMNS).round().astype(int))
    return [
        (f"slot {slot + 1}", list(pictures[slot, times]), one.frame[slot, times].tolist())
        for slot in range(len(pictures))
    ]


def spans(values: npt.NDArray[Any]) -> str:
    """Numbers of frames in short: 0 to 7 as "0..7", with a step as "0, 2 .. 14"."""
    numbers = values.tolist()
    steps = {after - before for before, after in pairwise(numbers)}
    if len(numbers) < 4 or len(steps) != 1:
        return " ".join(map(str, numbers))
    (step,) = steps
    return f"{numbers[0]}..{numbers[-1]}" if step == 1 else f"{numbers[0]}, {numbers[1]} .. {numbers[-1]}"


def plan_table(spec: PlanSpec, names: list[str]) -> str:
    """Markdown: a row for each of the first classes, with the pool frames of each slot."""
    cells, pool = spec.grid[0] * spec.grid[1], spec.groups * spec.bases * spec.length
    head = ["class", *(f"slot {slot + 1}" for slot in range(spec.slots))]
    rows = [" | ".join(head), " | ".join("---" for _ in head)]
    first: dict[int, int] = {}
    for row, label in enumerate(spec.labels.tolist()):
        first.setdefault(label, row)
    for label, row in sorted(first.items())[:ROWS]:
        entry = spec.arrangements[row]
        shown = [
            (f"cell {slot[0] // pool + 1}: " if cells > 1 else "") + spans(slot % pool if cells > 1 else slot)
            for slot in entry
        ]
        rows.append(" | ".join([names[label], *shown]))
    return "\n".join(f"| {row} |" for row in rows)


def audit_rows(recipe: str) -> str:
    """Markdown: the committed audit of a recipe.

    Raises:
        ValueError: There is none.
    """
    lines = [
        line
        for line in read(ROOT / "benchmarks/results")
        if line["bench"] == "shortcuts" and line["workload"].startswith(f"{recipe},")
    ]
    if not lines:
        raise ValueError(f"benchmarks/results has no audit of {recipe}; run benchmarks.bench_shortcuts")
    rows = [row.strip("|").split("|")[1:-1] for row in audit_table(lines).splitlines()]
    return "\n".join(f"|{'|'.join(row)}|" for row in rows)


class Task(SphinxDirective):
    """The directive `task RECIPE`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The picture of a recipe's task, and its numbers."""
        name = self.arguments[0]
        pretext = RECIPES[name]().pretext
        spec, made = pretext.plan, WORK / f"{name}.png"
        draw(enlarged(pretext), made)
        text = (
            f"The recipe `{name}` on the demo's videos; the small numbers are those of the frames. "
            f"A window has {spec.frames} frames, a tuple has {spec.slots} x {spec.times} of them (slots x times), "
            f"and guessing is right in {pretext.chance:.1%} of all cases."
        )
        return [picture(self, made, f"Tuples of {pretext.name}, with their labels"), *self.parse_text_to_nodes(text)]


class Plan(SphinxDirective):
    """The directive `plan RECIPE`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table of a recipe's task."""
        pretext = RECIPES[self.arguments[0]]().pretext
        spec = pretext.plan
        some = f"The first {ROWS} of {spec.classes} classes" if spec.classes > ROWS else "All classes"
        bases = spec.groups * spec.bases
        text = (
            f"{some}: which frames of the pool each slot shows. The pool of a window: "
            f"{bases} run{'s' * (bases > 1)} of {spec.length} frame{'s' * (spec.length > 1)}.\n\n"
            f"{plan_table(spec, pretext.class_names)}"
        )
        return [*self.parse_text_to_nodes(text)]


class Audit(SphinxDirective):
    """The directive `audit RECIPE`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The committed audit of a recipe."""
        text = (
            "How often a linear model on low-level cues alone answers right, in percent with 95 % intervals, on tennis "
            "clips with a key frame every 16 frames. Bold is above chance. Each row is a setting that takes shortcuts "
            f"away. [Shortcuts](../shortcuts.md) says how it was measured.\n\n{audit_rows(self.arguments[0])}"
        )
        return [*self.parse_text_to_nodes(text)]


def setup(app: Any) -> dict[str, bool]:
    """Register the directives."""
    for directive in (Task, Plan, Audit):
        app.add_directive(directive.__name__.lower(), directive)
    return {"parallel_read_safe": True}
