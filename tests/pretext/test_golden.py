"""Plans as they were: what every method draws from made-up motion must stay the same, bit for bit, on every twin.

Where a plan is meant to change, `python -m tests.pretext.test_golden` writes tests/golden/*.json anew; the difference
is for reading.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from vidssl import ops, reference
from vidssl.pretext import (
    METHODS,
    Arrow,
    Jigsaw,
    OddOneOut,
    Opn,
    OutOfOrder,
    Pace,
    Pretext,
    ShuffleLearn,
    SkipRate,
    Vcop,
)
from vidssl.recipes import RECIPES
from vidssl.types import Plan

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = (231, 317)  # no multiple of anything: boxes are no round numbers
TINY = {
    "shuffle_learn": "shuffle_learn_tiny",
    "opn": "opn_tiny",
    "odd_one_out": "odd_one_out_tiny",
    "vcop": "vcop_r3d_tiny",
    "pace": "pace_r3d_tiny",
    "arrow": "arrow_r3d_tiny",
    "out_of_order": "out_of_order_tiny",
    "skip_rate": "skip_rate_tiny",
    "jigsaw": "jigsaw_r3d_tiny",
}
DEFAULTS: dict[str, type[Pretext]] = {
    "shuffle_learn": ShuffleLearn,
    "opn": Opn,
    "odd_one_out": OddOneOut,
    "vcop": Vcop,
    "pace": Pace,
    "arrow": Arrow,
    "out_of_order": OutOfOrder,
    "skip_rate": SkipRate,
    "jigsaw": Jigsaw,
}
SAMPLES = list(product((0, 632), (0, 3), (0, 1, 12_345_678_901)))  # seed, epoch, sample
CASES = [(method, name) for method in DEFAULTS for name in ("defaults", TINY[method])]


def settings(method: str, name: str) -> Pretext:
    return DEFAULTS[method]() if name == "defaults" else RECIPES[name]().pretext


def made_up_motion(frames: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(sad, thumb) of a window of pictures of SIZE, by formula."""
    f, i, j = np.ogrid[: frames - 1, : -(-SIZE[0] // 16), : -(-SIZE[1] // 16)]
    sad = (31 * f * f + 17 * f * i + 29 * j * j + 7 * i * j * f + 13 * i) % 997
    f, i, j = np.ogrid[:frames, :16, :16]
    thumb = (37 * f + 11 * i + 5 * j + f * i + 3 * f * j) % 256
    return sad.astype(np.uint32), thumb.astype(np.uint8)


def written(plan: Plan) -> dict[str, Any]:
    """A plan without its colours as JSON: frames slot by slot; boxes x, y, w, h, one where all frames of a slot share
    it.
    """
    box = [[[float(value).hex() for value in one] for one in slot] for slot in np.asarray(plan.box).tolist()]
    return {
        "frame": " | ".join(" ".join(map(str, slot)) for slot in np.asarray(plan.frame).tolist()),
        "label": int(plan.label),
        "status": int(plan.status),
        "flip": " ".join(str(int(flip)) for flip in plan.flip),
        "box": [
            " ".join(slot[0]) if slot.count(slot[0]) == len(slot) else [" ".join(one) for one in slot] for slot in box
        ],
    }


def drawn(method: str, name: str, twin: str) -> list[dict[str, Any]]:
    """What a twin ("cpu", "cuda" or "reference") plans. The window is six frames longer than it must be, so that places
    are drawn.
    """
    spec = settings(method, name).plan
    sad, thumb = made_up_motion(spec.frames + 6)
    if twin == "cuda":
        sad, thumb = (cast(Any, torch.from_numpy(part).cuda()) for part in (sad, thumb))
    out = []
    for seed, epoch, sample in SAMPLES:
        where: dict[str, Any] = {
            "frames": spec.frames + 6,
            "size": SIZE,
            "seed": seed,
            "epoch": epoch,
            "sample": sample,
        }
        plan = (reference if twin == "reference" else ops).plan(spec, **where, sad=sad, thumb=thumb)
        if twin == "cuda":
            assert plan.frame.is_cuda
            plan = Plan(*(part.cpu() for part in plan))
        out.append({"seed": seed, "epoch": epoch, "sample": sample, **written(plan)})
    return out


def golden(method: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GOLDEN / f"{method}.json").read_text())[name]
    return found


def differences(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[str]:
    """Short enough to read where a plan has changed."""
    assert len(found) == len(wanted) == len(SAMPLES)
    where = [f"seed {one['seed']} epoch {one['epoch']} sample {one['sample']}" for one in wanted]
    return [
        f"{place}: {key}={one.get(key)!r}, was {other[key]!r}"
        for place, one, other in zip(where, found, wanted, strict=True)
        for key in other
        if one.get(key) != other[key]
    ]


def test_every_method_has_golden_plans() -> None:
    assert set(METHODS) == set(DEFAULTS) == {path.stem for path in GOLDEN.glob("*.json")}


@pytest.mark.parametrize("twin", ["cpu", "reference"])
@pytest.mark.parametrize(("method", "name"), CASES)
def test_plans_are_the_golden_ones(method: str, name: str, twin: str) -> None:
    assert differences(drawn(method, name, twin), golden(method, name)) == []


@pytest.mark.gpu
@pytest.mark.parametrize(("method", "name"), CASES)
def test_cuda_plans_are_the_golden_ones(method: str, name: str) -> None:
    assert differences(drawn(method, name, "cuda"), golden(method, name)) == []


@pytest.mark.parametrize(("method", "name"), CASES)
def test_golden_plans_differ_from_each_other(method: str, name: str) -> None:
    """Seed, epoch and sample all matter; most tuples are good ones."""
    plans = golden(method, name)
    assert len({json.dumps([plan["frame"], plan["label"], plan["box"]]) for plan in plans}) == len(SAMPLES)
    assert sum(plan["status"] == 0 for plan in plans) >= len(plans) - 2


def renew() -> None:
    """Writes the golden plans as the CPU twin draws them now; the tests then hold the reference against them."""
    GOLDEN.mkdir(exist_ok=True)
    for method in DEFAULTS:
        plans = {name: drawn(method, name, "cpu") for _, name in (case for case in CASES if case[0] == method)}
        (GOLDEN / f"{method}.json").write_text(json.dumps(plans, indent=1) + "\n")


if __name__ == "__main__":
    renew()
