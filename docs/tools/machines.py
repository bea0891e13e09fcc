"""The picture of a run on two machines: who shows which tuples, and what lies where.

python -m docs.tools.machines docs/machines.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from vidssl.plots.palette import GRID, INK, PAPER, SOFT, series
from vidssl.plots.pen import Pen

MACHINES, EACH, SHARE = 2, 2, 3  # machines, processes of each, tuples of a batch for each process
RANKS = MACHINES * EACH
EDGE, WIDTH, HEIGHT, GAP, TOP = 16, 704, 494, 20, 140  # in points
CELL = (WIDTH - 2 * EDGE - 12) / (2 * RANKS * SHARE)  # two batches, with a gap between them
MACHINE = (WIDTH - 2 * EDGE - GAP * (MACHINES - 1)) / MACHINES
COLORS = series(RANKS)


def draw(path: Path) -> None:
    """Writes the PNG."""
    pen = Pen(WIDTH, HEIGHT)
    order = "The tuples of an epoch in their order: a function of seed, epoch and place, so nothing is sent"
    pen.text(EDGE, 16, order, INK, 13)
    for machine in range(MACHINES):
        _frame(pen, machine)
    for place in range(2 * RANKS * SHARE):
        batch, within = divmod(place, RANKS * SHARE)
        rank = within // SHARE
        x = EDGE + 12 * batch + place * CELL
        if not batch and within % SHARE == SHARE // 2:
            pen.line(x + CELL / 2 - 1, 70, _middle(rank), TOP + 34, COLORS[rank], 1.5)
        pen.box(x, 48, x + CELL - 2, 72, COLORS[rank])
        pen.text(x + CELL / 2 - 1, 60, str(place), PAPER, 11, "mm")
    for batch in range(2):
        pen.text(EDGE + 12 * batch + batch * RANKS * SHARE * CELL, 38, f"batch {batch}", SOFT, 11)
    y = TOP + 96
    pen.line(_middle(0), y, _middle(RANKS - 1), y, INK, 2)
    for rank in range(RANKS):
        pen.line(_middle(rank), TOP + 80, _middle(rank), y, INK, 2)
    x, y = _middle(0) - 56, TOP + 276
    pen.line(x, TOP + 80, x, y, COLORS[0], 2)
    for machine in range(MACHINES):
        _machine(pen, machine)
    _framed(pen, EDGE, y, WIDTH - EDGE, y + 62, COLORS[0])
    pen.text(EDGE + 12, y + 20, "RUN: checkpoints, run.json, metrics.jsonl, events", COLORS[0], 13)
    alone = "Rank 0 alone reads and writes it. The others get a checkpoint from rank 0 when a run resumes."
    pen.text(EDGE + 12, y + 43, alone, SOFT, 11.5)
    pen.save(path)


def _middle(rank: int) -> float:
    """Where a process stands."""
    machine, local = divmod(rank, EACH)
    return EDGE + machine * (MACHINE + GAP) + (local + 0.5) * MACHINE / EACH


def _frame(pen: Pen, machine: int) -> None:
    left = EDGE + machine * (MACHINE + GAP)
    _framed(pen, left, TOP, left + MACHINE, TOP + 260, GRID)


def _machine(pen: Pen, machine: int) -> None:
    left = EDGE + machine * (MACHINE + GAP)
    pen.text(left + MACHINE - 12, TOP + 16, f"machine {machine + 1}", SOFT, 12, "rm")
    for rank in range(machine * EACH, (machine + 1) * EACH):
        x = _middle(rank)
        pen.box(x - 68, TOP + 34, x + 68, TOP + 80, COLORS[rank])
        pen.text(x, TOP + 48, f"rank {rank}, local rank {rank % EACH}", PAPER, 12, "mm")
        pen.text(x, TOP + 66, f"shows {rank * SHARE}..{(rank + 1) * SHARE - 1} of batch 0", PAPER, 11, "mm")
    words = "gradients: averaged over all ranks in each step"
    pen.text(left + 40, TOP + 112, words, INK, 11)
    for row, (name, about) in enumerate(
        (
            ("videos and their index", "same names, sizes and frames everywhere"),
            ("store: decoded frames", "one for the machine, filled by all its ranks"),
        )
    ):
        y = TOP + 138 + 58 * row
        _framed(pen, left + 40, y, left + MACHINE - 12, y + 48, SOFT)
        pen.text(left + 52, y + 16, name, INK, 12)
        pen.text(left + 52, y + 34, about, SOFT, 11)


def _framed(pen: Pen, x0: float, y0: float, x1: float, y1: float, color: str) -> None:
    pen.box(x0, y0, x1, y1, color)
    pen.box(x0 + 1.5, y0 + 1.5, x1 - 1.5, y1 - 1.5, PAPER)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
