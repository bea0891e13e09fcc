"""What does each method learn without labels? Pretrained encoders beside the untrained ones of the same seeds.

    python -m benchmarks.bench_representations --weizmann FOLDER --out benchmarks/results     all methods, three seeds

Two sets: the demo's videos (made anew for each seed; the recipe's held-out part is tested against the rest), and
the Weizmann set, if it is there: ten actions of nine persons; each person is tested against the others. There the
encoder has seen all videos, without a label; --strict trains one anew for each third of the persons, without their
videos. Measured are retrieval (a neighbour of the same class?), five nearest neighbours and a linear probe, of the
encoder's own feature over ten clips a video.
"""

from __future__ import annotations

import json
import tempfile
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
from benchmarks.runs import train_or_resume
from vidssl.demo.render import render
from vidssl.evaluate.accuracy import pretext_accuracy
from vidssl.evaluate.cache import run_features
from vidssl.evaluate.confidence import Estimate, gain, mean
from vidssl.evaluate.features import Features
from vidssl.evaluate.probe import knn_probe, linear_probe
from vidssl.evaluate.retrieval import retrieval
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, trained_model
from vidssl.evaluate.splits import Splits, make_splits, with_groups
from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.recipes.odd_one_out import odd_one_out_tiny
from vidssl.recipes.opn import opn_tiny
from vidssl.recipes.shuffle_learn import shuffle_learn_tiny
from vidssl.recipes.vcop import vcop_r3d_tiny
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

# "trained", "untrained" -> way -> bool [V]: whether each video is told
Right = Mapping[str, Mapping[str, torch.Tensor]]
PERSON = "[a-z]+(?=_)"  # of a path such as bend/daria_bend.avi
WAYS = ("R@1", "R@5", "5-NN", "linear")


def _demo(method: str) -> Recipe:
    recipe = RECIPES[method]()
    return replace(recipe, train=replace(recipe.train, holdout=0.24))


def _weizmann(method: str) -> Recipe:
    """The tiny recipe, on pictures that keep the whole person: 40 x 48 of 44 x 52. No video is held out, as no
    tuple is tested.
    """
    tiny = {
        "shuffle_learn": shuffle_learn_tiny,
        "opn": opn_tiny,
        "odd_one_out": odd_one_out_tiny,
        "vcop": vcop_r3d_tiny,
    }[method]()
    old = RECIPES[method]().pretext.augment
    augment: Augment = replace(old, resize=(44, 52), crop=(40, 48))
    tuples = max(2, tiny.train.tuples_per_window)
    settings = replace(
        tiny.train,
        holdout=0.0,
        batch_size=8 if method == "vcop" else tiny.train.batch_size,
        tuples_per_window=tuples,
        slotwise_bn=False,
        schedule="cosine",
        amp="off",
        lr=RECIPES[method]().train.lr,
    )
    short = {"interval": 4} if method == "vcop" else {}  # the shortest video has 36 frames
    return replace(tiny, pretext=replace(tiny.pretext, augment=augment, **short), train=settings)


MAKE: Mapping[str, Callable[[str], Recipe]] = {"demo": _demo, "weizmann": _weizmann}
STEPS = {
    "demo": {"vcop": 800, "odd_one_out": 600, "shuffle_learn": 700, "opn": 500},
    "weizmann": {"vcop": 200, "odd_one_out": 300, "shuffle_learn": 150, "opn": 150},
}
FOLDS = 3  # of the persons, in the strict form


def pretrain(recipe: Recipe, index: VideoIndex, seed: int, steps: int, out: Path) -> TrainedRun:
    """Trains for so many steps, or resumes. One thread computes, and one decodes."""
    config = replace(recipe.train, seed=seed, steps=steps, val_every=steps, save_every=steps, workers=1, threads=1)
    return train_or_resume(replace(recipe, train=config), index, out)


def asked(known: Features, own: Features, *, leave_group_out: bool = False) -> dict[str, torch.Tensor]:
    """Way to bool [V]: whether each video is told."""
    hits = {f"R@{k}": hit for k, hit in retrieval(own, known, (1, 5), leave_group_out=leave_group_out).items()}
    return {
        **hits,
        "5-NN": knn_probe(known, own, 5, leave_group_out=leave_group_out).correct,
        "linear": linear_probe(known, own, leave_group_out=leave_group_out).correct,
    }


def told(run: TrainedRun, data: Splits) -> Right:
    """What `asked` says of the trained and of the untrained encoder."""
    pairs = run_features(run, data, run.encoders(), DEFAULT_VIEW, device="cpu", progress=False)
    return {
        name: asked(*pair, leave_group_out=data.leave_group_out)
        for name, *pair in zip(("trained", "untrained"), *pairs, strict=True)
    }


def told_strictly(
    recipe: Recipe, index: VideoIndex, seed: int, steps: int, out: Path
) -> tuple[TrainedRun, dict[str, dict[str, torch.Tensor]]]:
    """As `told`, of encoders that never saw the test person: one for each third of the persons, trained on the
    others' videos.
    """
    of = index.column("group").to_pylist()
    people = sorted(set(of))
    parts_: list[Right] = []
    for fold in tqdm(range(FOLDS), desc="strict", unit="fold", leave=False):
        own = people[fold::FOLDS]
        run = pretrain(
            recipe,
            index.select([row for row, person in enumerate(of) if person not in own]),
            seed,
            steps,
            out / str(fold),
        )
        every, _ = run_features(
            run,
            Splits(train=index, test=index, description="", leave_group_out=True),
            run.encoders(),
            DEFAULT_VIEW,
            device="cpu",
            progress=False,
        )
        for person in own:
            places = [np.flatnonzero((np.asarray(every[0].groups()) == person) == mine) for mine in (False, True)]
            parts_.append(
                {
                    name: asked(*(features.take(at) for at in places))
                    for name, features in zip(("trained", "untrained"), every, strict=True)
                }
            )
    joined = {
        name: {way: torch.cat([part[name][way] for part in parts_]) for way in WAYS}
        for name in ("trained", "untrained")
    }
    return run, joined


def row(run: TrainedRun, right: Right, held: VideoIndex) -> dict[str, Any]:
    """A run in a result. held: videos of which eight tuples each are tested: held-out ones, where there are some."""
    model, recipe = trained_model(run.path)
    task = pretext_accuracy(model, held, tuples=8, workers=1)
    seconds = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    return {
        "seed": recipe.train.seed,
        "encoder": recipe.encoder,
        "steps": run.step,
        "seconds": round(seconds, 1),
        "tuples right": task.accuracy,
        "chance": task.chance,
        **{name: {way: float(hit.double().mean()) for way, hit in ways.items()} for name, ways in right.items()},
    }


def summed(rows: list[dict[str, Any]], right: list[Right]) -> dict[str, dict[str, Estimate]]:
    """Of each way: mean over the seeds of the trained, of the untrained and of the gain, with Student's interval;
    "pairs": the gain with that of a paired bootstrap over the videos of all seeds.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for way in WAYS:
        a, b = ([one[name][way] for one in rows] for name in ("trained", "untrained"))
        after, before = (torch.cat([one[name][way] for one in right]) for name in ("trained", "untrained"))
        found[way] = {
            "trained": mean(a),
            "untrained": mean(b),
            "gain": mean([x - y for x, y in zip(a, b, strict=True)]),
            "pairs": gain(after, before, torch.arange(len(after))),
        }
    return found


def write(
    workload: str,
    rows: list[dict[str, Any]],
    right: list[Right],
    about: Mapping[str, Any],
    out: Path | None,
) -> None:
    numbers = summed(rows, right)
    said = "; ".join(
        f"{way} {100 * one['trained'].value:.1f} / {100 * one['untrained'].value:.1f}" for way, one in numbers.items()
    )
    tqdm.write(f"{workload}: {said} (trained / untrained, %, {len(rows)} seeds)")
    shown = {way: {name: one._asdict() for name, one in numbers[way].items()} for way in WAYS}
    append({"bench": "representations", "workload": workload, "runs": rows, "numbers": shown, **about}, out)


def main(
    *,
    weizmann: Path | None = None,
    methods: tuple[str, ...] = tuple(STEPS["demo"]),
    seeds: tuple[int, ...] = (0, 1, 2),
    demo: bool = True,
    strict: tuple[str, ...] = ("vcop",),
    steps: int | None = None,
    keep: Path | None = None,
    out: Path | None = None,
) -> None:
    """Pretrain every method and append a line a method and set to a results file.

    Args:
        weizmann: Folder of the Weizmann set (<action>/<person>_<action>.avi); none leaves it out.
        methods: Which.
        seeds: Of weights, tuples and, on the demo's set, videos.
        demo: Whether to take the demo's set.
        strict: Methods that are also trained without the test persons, with the first seed; three trainings each.
        steps: Of training; none takes each method's own.
        keep: Folder for scenes and runs. They stay there, and the next call continues them; none takes a temporary one.
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
            sets["weizmann"] = [with_groups(VideoIndex.build(weizmann), PERSON)] * len(seeds)
        for method, (name, indexes) in product(methods, sets.items()):
            rows, right = [], []
            for seed, index in zip(seeds, indexes, strict=True):
                run = pretrain(
                    MAKE[name](method), index, seed, steps or STEPS[name][method], where / f"{name}-{method}-{seed}"
                )
                data = make_splits(run.recipe, run.trained_on, index, leave_group_out=name == "weizmann")
                right.append(told(run, data))
                rows.append(row(run, right[-1], data.test))
                tqdm.write(f"{name}, {method}: {rows[-1]}")
            write(f"{name}, {method}", rows, right, about, out)
        for method in strict if weizmann is not None else ():
            index, length = sets["weizmann"][0], steps or STEPS["weizmann"][method]
            run, joined = told_strictly(_weizmann(method), index, seeds[0], length, where / f"strict-{method}")
            write(f"weizmann, {method}, trained without the person", [row(run, joined, index)], [joined], about, out)


if __name__ == "__main__":
    tyro.cli(main)
