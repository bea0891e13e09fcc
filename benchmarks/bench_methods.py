"""Does every method learn? Each is trained on the demo's videos with a few seeds, and asked about held-out ones.

python -m benchmarks.bench_methods                          all methods, three seeds, a quarter of an hour on two cores
python -m benchmarks.bench_methods --methods opn --steps 50

A seed is that of the scenes, the split and the run. The recipes are the tiny ones, with frames further apart: the
scenes are slow, and have 64 frames and more, where the recipes suit 36. VCOP's is the demo's.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tyro
from tqdm import tqdm

from benchmarks.harness import append, circumstances
from vidssl.demo.render import render
from vidssl.demo.run import demo_recipe
from vidssl.evaluate.accuracy import pretext_accuracy
from vidssl.evaluate.run import trained_model
from vidssl.index.holdout import split
from vidssl.index.table import VideoIndex
from vidssl.recipes.odd_one_out import odd_one_out_tiny
from vidssl.recipes.opn import opn_tiny
from vidssl.recipes.shuffle_learn import shuffle_learn_tiny
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError


def _far(recipe: Recipe, **changed: Any) -> Recipe:
    return replace(recipe, pretext=replace(recipe.pretext, **changed))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "shuffle_learn": lambda: _far(shuffle_learn_tiny(), tau_max=40, tau_min=10),
    "opn": lambda: _far(opn_tiny(), interval_min=8, interval_max=16),
    "odd_one_out": odd_one_out_tiny,
    "vcop": lambda: demo_recipe(0),
}
STEPS = {"shuffle_learn": 700, "opn": 900, "odd_one_out": 300, "vcop": 400}
EACH = 28  # videos of each scene


def measure(method: str, index: VideoIndex, seed: int, steps: int, out: Path) -> dict[str, Any]:
    """Train, and answer for the held-out videos: what `Accuracy` says, and how long it took."""
    recipe = RECIPES[method]()
    recipe = replace(recipe, train=replace(recipe.train, seed=seed, holdout=0.24, val_every=steps, save_every=steps))
    result = train(recipe, index, out, steps=steps, device="cpu", quiet=True)
    config, span = recipe.train, recipe.pretext.plan.frames
    _, held = split(index, config.holdout, seed=config.seed, group=config.group, span=span)
    model, _ = trained_model(result.checkpoint)
    seconds = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    return {
        "encoder": recipe.encoder,
        **asdict(pretext_accuracy(model, held, tuples=8)),
        "steps": steps,
        "seconds": seconds,
    }


def main(
    *,
    methods: tuple[str, ...] = tuple(RECIPES),
    seeds: tuple[int, ...] = (0, 1, 2),
    steps: int | None = None,
    out: Path | None = None,
) -> None:
    """Train every method on the demo's videos and append a line a method to a results file.

    Args:
        methods: Which.
        seeds: Of scenes and runs.
        steps: Of training; none takes each method's own.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if unknown := set(methods) - set(RECIPES):
        raise VidsslError(f"methods={sorted(unknown)}: take some of {', '.join(RECIPES)}")
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            scenes = Path(folder, f"scenes{seed}")
            render(scenes, seed=seed, each=EACH)
            index = VideoIndex.build(scenes)
            for method in methods:
                run = measure(method, index, seed, steps or STEPS[method], Path(folder, f"{method}{seed}"))
                found[method].append({"seed": seed, **run})
                tqdm.write(f"{method} seed {seed}: {run}")
    about = circumstances()
    for method, runs in found.items():
        shares = [run["accuracy"] for run in runs]
        line = {
            "bench": "methods",
            "workload": method,
            "runs": runs,
            "mean": mean(shares),
            "spread": stdev(shares) if len(shares) > 1 else 0.0,
            "chance": runs[0]["chance"],
            **about,
        }
        right = f"{line['mean']:.1%} +- {line['spread']:.1%}"
        print(f"{method}: {right} of held-out tuples right, chance {line['chance']:.1%}")
        append(line, out)


if __name__ == "__main__":
    tyro.cli(main)
