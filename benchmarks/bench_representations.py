"""What does each method learn without labels? Pretrained encoders beside the untrained ones of the same seeds.

    python -m benchmarks.bench_representations --weizmann FOLDER --out benchmarks/results     all methods, three seeds

Two sets: the demo's videos (made anew for each seed; the recipe's held-out part is asked for, the rest is known), and the Weizmann set,
if it is there: ten actions of nine persons, each person asked for with what the others tell. There the encoder has seen all videos,
without a label; --strict trains one anew for each third of the persons, without their videos. Asked are retrieval (a neighbour of the same
class?), five nearest neighbours and a linear probe, of the encoder's own feature over ten clips a video.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from benchmarks.bench_methods import EACH, RECIPES
from benchmarks.harness import append, circumstances
from vidssl.demo.render import render
from vidssl.evaluate.cache import taken
from vidssl.evaluate.interval import Number, mean
from vidssl.evaluate.parts import Parts, grouped, parts
from vidssl.evaluate.probe import evaluate_probe, linear_probe, neighbours
from vidssl.evaluate.retrieval import evaluate_retrieval, retrieval
from vidssl.evaluate.trained import WHOLE, Trained, open_run
from vidssl.recipes.odd_one_out import odd_one_out_tiny
from vidssl.recipes.opn import opn_tiny
from vidssl.recipes.shuffle_learn import shuffle_learn_tiny
from vidssl.recipes.vcop import vcop_r3d_tiny
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import Augment
from vidssl.train.config import Recipe
from vidssl.train.loop import train
from vidssl.types import VidsslError

PERSON = "[a-z]+(?=_)"  # of a path such as bend/daria_bend.avi
WAYS = ("R@1", "R@5", "5-NN", "linear")


def _demo(method: str) -> Recipe:
    recipe = RECIPES[method]()
    return replace(recipe, train=replace(recipe.train, holdout=0.24))


def _weizmann(method: str) -> Recipe:
    """The tiny recipe, on pictures that keep the whole person: 40 x 48 of 44 x 52. No video is held out, as no tuple is asked for."""
    tiny = {"shuffle_learn": shuffle_learn_tiny, "opn": opn_tiny, "odd_one_out": odd_one_out_tiny, "vcop": vcop_r3d_tiny}[method]()
    old = RECIPES[method]().pretext.augment
    augment: Augment = replace(old, resize=(44, 52), crop=(40, 48))
    tuples = max(2, tiny.train.tuples_per_window)
    settings = replace(
        tiny.train, holdout=0.0, batch_size=8 if method == "vcop" else tiny.train.batch_size, tuples_per_window=tuples,
        slotwise_bn=False, schedule="cosine", amp="off", lr=RECIPES[method]().train.lr,
    )  # fmt: skip
    return replace(tiny, pretext=replace(tiny.pretext, augment=augment), train=settings)


MAKE: Mapping[str, Callable[[str], Recipe]] = {"demo": _demo, "weizmann": _weizmann}
STEPS = {
    "demo": {"vcop": 800, "odd_one_out": 600, "shuffle_learn": 700, "opn": 500},
    "weizmann": {"vcop": 200, "odd_one_out": 300, "shuffle_learn": 150, "opn": 150},
}
FOLDS = 3  # of the persons, in the strict form


def pretrain(recipe: Recipe, index: VideoIndex, seed: int, steps: int, out: Path) -> tuple[Trained, dict[str, Any]]:
    """A run; its seconds, and the share of training tuples answered right in its last tenth. One thread computes, one decodes."""
    logged = max(1, steps // 10)
    config = replace(recipe.train, seed=seed, steps=steps, val_every=steps, save_every=steps, log_every=logged, workers=1, threads=1)
    began = time.perf_counter()
    result = train(replace(recipe, train=config), index, out, device="cpu", quiet=True)
    about = {"encoder": recipe.encoder, "steps": steps, "tuples right": result.metrics["train/accuracy"]}
    return open_run(out), about | {"seconds": round(time.perf_counter() - began, 1)}


def asked(run: Trained, data: Parts) -> dict[str, dict[str, float]]:
    """Way to share, trained and untrained; and chance."""
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    found = evaluate_retrieval(run, data, ks=(1, 5), pictures=2, **options).numbers
    probed = evaluate_probe(run, data, ks=(5,), **options).numbers
    return {name: {way: one.value for way, one in {**found[name], **probed[name]}.items()} for name in ("trained", "untrained", "chance")}


def asked_strictly(recipe: Recipe, index: VideoIndex, seed: int, steps: int, out: Path) -> dict[str, Any]:
    """As `asked`, of encoders that never saw the person asked for: one for each third of the persons, trained on the others' videos."""
    people = sorted(set(index.column("group").to_pylist()))
    right: dict[str, dict[str, list[torch.Tensor]]] = {name: {way: [] for way in WAYS} for name in ("trained", "untrained")}
    told: dict[str, Any] = {}
    for fold in tqdm(range(FOLDS), desc="strict", unit="fold", leave=False):
        own = people[fold::FOLDS]
        rows = [row for row, person in enumerate(index.column("group").to_pylist()) if person not in own]
        run, told = pretrain(recipe, index.select(rows), seed, steps, out / str(fold))
        every, _ = taken(run, Parts(known=index, asked=None, split=""), run.encoders(), WHOLE, device="cpu", progress=False)
        for name, features in zip(right, every, strict=True):
            who = np.asarray(features.groups())
            for person in own:
                known, asked = (features.take(np.flatnonzero((who == person) == mine)) for mine in (False, True))
                for k, hit in retrieval(asked, known, (1, 5)).items():
                    right[name][f"R@{k}"].append(hit)
                right[name]["5-NN"].append(neighbours(known, asked, 5).right)
                right[name]["linear"].append(linear_probe(known, asked).right)
    shares = {name: {way: float(torch.cat(hits).double().mean()) for way, hits in row.items()} for name, row in right.items()}
    return {**told, **shares}  # of the training, the last of the thirds


def summed(runs: list[dict[str, Any]]) -> dict[str, dict[str, Number]]:
    """Of each way: mean over the seeds of the trained, of the untrained, and of the gain, with Student's interval."""
    rows: dict[str, dict[str, Number]] = {}
    for way in WAYS:
        pairs = [(run["trained"][way], run["untrained"][way]) for run in runs]
        rows[way] = {
            "trained": mean([a for a, _ in pairs]), "untrained": mean([b for _, b in pairs]), "gain": mean([a - b for a, b in pairs])
        }  # fmt: skip
    return rows


def write(workload: str, runs: list[dict[str, Any]], about: Mapping[str, Any], out: Path | None) -> None:
    numbers = summed(runs)
    said = "; ".join(f"{way} {100 * row['trained'].value:.1f} / {100 * row['untrained'].value:.1f}" for way, row in numbers.items())
    tqdm.write(f"{workload}: {said} (trained / untrained, %, {len(runs)} seeds)")
    shown = {way: {name: one._asdict() for name, one in row.items()} for way, row in numbers.items()}
    append({"bench": "representations", "workload": workload, "runs": runs, "numbers": shown, **about}, out)


def main(
    *, weizmann: Path | None = None, methods: tuple[str, ...] = tuple(STEPS["demo"]), seeds: tuple[int, ...] = (0, 1, 2), demo: bool = True,
    strict: tuple[str, ...] = ("vcop",), steps: int | None = None, keep: Path | None = None, out: Path | None = None,
) -> None:  # fmt: skip
    """Pretrain every method and append a line a method and set to a results file.

    Args:
        weizmann: Folder of the Weizmann set (<action>/<person>_<action>.avi); none leaves it out.
        methods: Which.
        seeds: Of weights, tuples and, on the demo's set, videos.
        demo: Whether to take the demo's set.
        strict: Methods that are also trained without the persons asked for, with the first seed; three trainings each.
        steps: Of training; none takes each method's own.
        keep: Folder for scenes and runs, which stay there; none takes one that does not.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if unknown := set(methods + strict) - set(RECIPES):
        raise VidsslError(f"methods={sorted(unknown)}: take some of {', '.join(RECIPES)}")
    torch.set_num_threads(1)
    about = circumstances()
    with tempfile.TemporaryDirectory(prefix="vidssl-bench-") as folder:
        where = keep or Path(folder)
        sets: dict[str, list[VideoIndex]] = {}
        if demo:
            for seed in seeds:
                render(where / f"scenes{seed}", seed=seed, each=EACH)
            sets["demo"] = [VideoIndex.build(where / f"scenes{seed}") for seed in seeds]
        if weizmann is not None:
            sets["weizmann"] = [grouped(VideoIndex.build(weizmann), PERSON)] * len(seeds)
        for method, (name, indexes) in product(methods, sets.items()):
            runs = []
            for seed, index in zip(seeds, indexes, strict=True):
                length = steps or STEPS[name][method]
                run, told = pretrain(MAKE[name](method), index, seed, length, where / f"{name}-{method}-{seed}")
                data = parts(run.recipe, run.meta["data"], index, by_group=name == "weizmann")
                row = {"seed": seed, **told, **asked(run, data)}
                tqdm.write(f"{name}, {method}, seed {seed}: {row}")
                runs.append(row)
            write(f"{name}, {method}", runs, about, out)
        for method in strict if weizmann is not None else ():
            length = steps or STEPS["weizmann"][method]
            index = sets["weizmann"][0]
            found = asked_strictly(_weizmann(method), index, seeds[0], length, where / f"strict-{method}")
            runs = [{"seed": seeds[0], **found}]
            write(f"weizmann, {method}, trained without the person", runs, about, out)


if __name__ == "__main__":
    tyro.cli(main)
