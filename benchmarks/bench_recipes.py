"""Which settings of the tiny recipes learn on real clips? Named variants, trained one after the other from one store.

    python -m benchmarks.bench_recipes --data tennis.csv --keep FOLDER --variants vcop vcop_difference --out FILE.jsonl

A quarter of the groups is set aside for the end. Settings are chosen on the others alone: a variant is trained on three
quarters of them and asked about the last quarter, four tuples a video. `--test` trains on all groups but those set
aside, and asks about these. A second call with the same FILE leaves out what it has; a run that was stopped continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

from benchmarks.harness import append, circumstances
from vidssl.cli.data import open_data
from vidssl.evaluate.accuracy import predict_tuples
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.run import trained_model
from vidssl.evaluate.splits import with_groups
from vidssl.index.holdout import split
from vidssl.index.table import VideoIndex
from vidssl.recipes import RECIPES
from vidssl.store.frames import FrameStore
from vidssl.train.checkpoint import complete
from vidssl.train.config import Recipe, recipe_from
from vidssl.train.train import train
from vidssl.types import VidsslError

Settings = Mapping[str, Any]  # "train.lr" -> 0.015: what differs from the recipe
ASIDE, SEED = 0.25, 0  # of the split into groups to choose on and groups set aside; and of the split within the former
TUPLES = 4  # a held-out video
CHECKS = 6  # checkpoints of a run that are asked

# 32 x 32 of 36 x 36, normalised, mirrored and coloured; batch norm over all slots: the settings of the demo.
SMALL: Settings = {
    "pretext.augment.resize": (36, 36),
    "pretext.augment.crop": (32, 32),
    "pretext.augment.mean": (0.5, 0.5, 0.5),
    "pretext.augment.std": (0.25, 0.25, 0.25),
    "pretext.augment.flip": 0.5,
    "pretext.augment.brightness": 0.2,
    "pretext.augment.contrast": 0.2,
    "pretext.augment.saturation": 0.5,
    "pretext.augment.color_scope": "tuple",
    "pretext.dropout": 0.0,
    "train.slotwise_bn": False,
    "train.tuples_per_window": 2,
    "train.momentum": 0.8,
    "train.lr": 0.015,
    "train.schedule": "cosine",
}
VCOP: Settings = {**SMALL, "pretext.interval": 14, "encoder": "r3d_tiny"}  # frames, whatever the recipe takes
ADAM: Settings = {"train.optimizer": "adamw", "train.lr": 1e-3, "train.weight_decay": 0.05}
FAR: Settings = {"pretext.interval_min": 8, "pretext.interval_max": 16}  # windows of 49 frames instead of 31
DIFFERENCE: Settings = {"encoder": "r3d_tiny_difference"}
VARIANTS: dict[str, tuple[str, Settings]] = {
    "vcop": ("vcop_r3d_tiny", VCOP),
    "vcop_difference": ("vcop_r3d_tiny", {**VCOP, **DIFFERENCE}),
    "vcop_adam": ("vcop_r3d_tiny", {**VCOP, **ADAM}),
    "vcop_difference_adam": ("vcop_r3d_tiny", {**VCOP, **DIFFERENCE, **ADAM}),
    "vcop_stride2_difference": ("vcop_r3d_tiny", {**VCOP, **DIFFERENCE, "pretext.stride": 2, "pretext.interval": 4}),
    "vcop_near_difference": ("vcop_r3d_tiny", {**VCOP, **DIFFERENCE, "pretext.interval": 4}),
    "opn_far": ("opn_tiny", FAR),
    "opn_far_adam": ("opn_tiny", {**FAR, **ADAM}),
    **{name: (name, {}) for name in RECIPES if name.endswith("_tiny")},
}


def changed(recipe: Recipe, settings: Settings) -> Recipe:
    """Returns a recipe with other settings, named as in a checkpoint's meta.json: "pretext.augment.crop"."""
    values = json.loads(json.dumps(recipe.as_dict()))
    for name, value in settings.items():
        *parents, last = name.split(".")
        part = values
        for parent in parents:
            part = part[parent]
        if last not in part:
            raise VidsslError(f"settings={name!r}: no such setting; take one of {', '.join(part)}")
        part[last] = value
    return recipe_from(json.loads(json.dumps(values)))


def answers(checkpoint: Path, held: VideoIndex, store: FrameStore, tuples: int) -> dict[str, Any]:
    """Accuracy of a checkpoint on held-out videos. Tuples of one group count as dependent."""
    model, recipe = trained_model(checkpoint)
    (found,) = predict_tuples(model, held, tuples=tuples, workers=1, store=store)
    paths, names = (held.column(column).to_pylist() for column in ("path", "group"))
    (group,) = name_ids([names[row] or paths[row] for row in found.video.tolist()])
    right: Estimate = proportion(found.right, group)
    return {
        "accuracy": right.value,
        "low": right.low,
        "high": right.high,
        "tuples": len(found.label),
        "videos": len(set(found.video.tolist())),
        "groups": len(set(group.tolist())),
        "chance": recipe.pretext.chance,
    }


def left_chance(curve: list[dict[str, Any]]) -> int | None:
    """Returns the first checked step from which on every interval is above chance; None if the last one is not."""
    found = None
    for one in reversed(curve):
        if one["low"] <= one["chance"]:
            break
        found = one["step"]
    return found


def measure(recipe: Recipe, known: VideoIndex, held: VideoIndex, store: FrameStore, out: Path) -> dict[str, Any]:
    """Trains a recipe with one thread, or continues to, and asks its checkpoints about held-out videos."""
    resume, cpu = bool(complete(out)), time.process_time()
    result = train(recipe, known, out, store=store, resume=resume, device="cpu", quiet=True)
    minutes = None if resume else round((time.process_time() - cpu) / 60, 2)  # the first part was not measured
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    curve = [
        {"step": int(path.name.removeprefix("step_")), **answers(path, held, store, TUPLES)} for path in complete(out)
    ]
    return {
        **curve[-1],
        "steps": result.step,
        "left chance": left_chance(curve),
        "cpu minutes": minutes,
        "train/accuracy": last["train/accuracy"],
        "curve": [{key: one[key] for key in ("step", "accuracy", "low", "high")} for one in curve],
    }


def main(
    *,
    data: Path,
    keep: Path,
    variants: tuple[str, ...],
    groups: str = "",
    steps: int = 1000,
    test: bool = False,
    aside: float = ASIDE,
    seed: int = 632,
    out: Path | None = None,
) -> None:
    """Trains variants and appends a line for each to a results file.

    Args:
        data: Folder, list or index of the videos.
        keep: Folder for the store and the runs, which stay there; a run that was stopped continues.
        variants: Names of VARIANTS.
        groups: Regular expression; what it matches in a path is the video's group. Empty: the list says.
        steps: Training steps.
        test: Ask about the groups that were set aside, after training on all others.
        aside: Fraction of the videos in the groups that are set aside. Intervals of fewer than four groups say little.
        seed: Seed of weights, tuples and augmentation.
        out: File (.jsonl) for the results.
    """
    if unknown := set(variants) - set(VARIANTS):
        raise VidsslError(f"variants={sorted(unknown)}: take some of {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    done = [json.loads(line)["workload"] for line in out.read_text().splitlines()] if out and out.exists() else []
    store = FrameStore(keep / "store")
    index = with_groups(open_data(data, None, store=store), groups)
    known, held = split(index, aside, seed=SEED)
    if not test:
        known, held = split(known, ASIDE, seed=SEED)
    about = circumstances()
    for name in variants:
        recipe, settings = VARIANTS[name]
        part = "test groups" if test else "training groups"
        workload = f"{data.stem}, {part}, {name}, {steps} steps, seed {seed}"
        if workload in done:
            continue
        every = max(1, steps // CHECKS)
        fixed = {"steps": steps, "seed": seed, "holdout": 0.0, "threads": 1, "workers": 1, "amp": "off", "keep": 99}
        fixed |= {"save_every": every, "log_every": max(1, steps // 20)}
        made = changed(
            RECIPES[recipe](),
            {**settings, **{f"train.{key}": value for key, value in fixed.items()}, "store_size": "native"},
        )
        found = measure(made, known, held, store, keep / workload.replace(", ", "-").replace(" ", "_"))
        tqdm.write(
            f"{workload}: {found['accuracy']:.1%} [{found['low']:.1%}, {found['high']:.1%}] of {found['tuples']} "
            f"tuples, chance {found['chance']:.1%}, left at {found['left chance']}, {found['cpu minutes']} minutes; "
            + " ".join(f"{one['step']}:{one['accuracy']:.1%}" for one in found["curve"])
        )
        append(
            {"bench": "recipes", "workload": workload, "recipe": recipe, "settings": settings, **found, **about}, out
        )


if __name__ == "__main__":
    tyro.cli(main)
