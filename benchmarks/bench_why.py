"""Why may an encoder lose among nearest neighbours what it wins in a linear probe? Every usual reason, measured.

    python -m benchmarks.bench_why --tennis LIST --weizmann FOLDER --keep RUNS --out benchmarks/results

VCOP and Odd-One-Out are trained on one set without labels. Then the trained and the untrained encoder are asked for the
class of each video, with neighbours and with a linear probe, while one thing changes at a time: how features are
rescaled before the cosine, the layer, the mean of a map against a grid of it, one clip against ten, batch norm's
statistics, and how long was trained. On the demo's scenes, the recipe's held-out videos are asked for; on the real sets
each group (a background, a person) with what the others tell. The encoder has seen all videos, without a label. Beside
them stands what low-level features tell without any encoder.

The same command with --resume continues what was stopped: runs and features stay in --keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
import tyro
from torch.nn import functional
from tqdm import tqdm

from benchmarks.bench_methods import EACH
from benchmarks.clip_features import LAST, LAYERS, POOLS, Seen, facts, recalibrated, seen
from benchmarks.harness import append, circumstances, measured
from benchmarks.runs import train_or_resume
from vidssl.demo.render import render
from vidssl.demo.run import demo_recipe
from vidssl.evaluate.accuracy import pretext_accuracy
from vidssl.evaluate.confidence import gain, name_ids
from vidssl.evaluate.features import Features
from vidssl.evaluate.knn import label_ids
from vidssl.evaluate.low_level import Baselines
from vidssl.evaluate.probe import knn_probe, linear_probe, majority_fraction
from vidssl.evaluate.retrieval import retrieval
from vidssl.evaluate.run import DEFAULT_VIEW, TrainedRun, trained_encoder, trained_model, untrained_encoder
from vidssl.evaluate.scaling import Scaling
from vidssl.evaluate.splits import Splits, make_splits, with_groups
from vidssl.index.holdout import split
from vidssl.index.table import VideoIndex
from vidssl.pretext import Vcop
from vidssl.recipes.odd_one_out import odd_one_out_tiny
from vidssl.store.frames import FrameStore
from vidssl.train.checkpoint import complete
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

PERSON = "[a-z]+(?=_)"  # of a path such as bend/daria_bend.avi
INTERVAL = {"demo": 20, "tennis": 14, "weizmann": 6}  # frames between the clips of VCOP: the videos have no more
STEPS = {
    "demo": {"vcop": 800, "odd_one_out": 600},
    "tennis": {"vcop": 1500, "odd_one_out": 1500},
    "weizmann": {"vcop": 1500, "odd_one_out": 1500},
}
PARTS = 4  # of a training, after each of which a checkpoint is kept
DRAWS = 2000  # of the bootstrap
SCALED: dict[str, Scaling] = {"R@1, centred": "centre", "R@1, standardised": "standardise", "R@1, whitened": "whiten"}
WAYS = ("R@1", "R@1, not normalised", *SCALED, "5-NN", "5-NN, standardised", "linear")
Pair = tuple[Features, Features]  # of the training videos, and of the test videos


def recipe_of(name: str, method: str, seed: int) -> Recipe:
    """The demo's settings for VCOP, the tiny recipe for Odd-One-Out."""
    if method == "odd_one_out":
        tiny = odd_one_out_tiny()
        recipe = replace(tiny, train=replace(tiny.train, amp="off", seed=seed), store_size="native")
    else:
        recipe = demo_recipe(seed)
        assert isinstance(recipe.pretext, Vcop)
        recipe = replace(recipe, pretext=replace(recipe.pretext, interval=INTERVAL[name]))
    return replace(recipe, train=replace(recipe.train, holdout=0.24 if name == "demo" else 0.1))


def pretrain(recipe: Recipe, index: VideoIndex, steps: int, out: Path, store: FrameStore) -> TrainedRun:
    """Trains for so many steps, or resumes. One thread computes, and one decodes."""
    each = max(1, steps // PARTS)
    settings = replace(
        recipe.train, steps=steps, val_every=steps, watch=steps, save_every=each, keep=PARTS + 1, workers=1, threads=1
    )
    return train_or_resume(replace(recipe, train=settings), index, out, store)


def not_normalised(known: Features, own: Features, *, leave_group_out: bool) -> torch.Tensor:
    """bool [Q]: whether the nearest video by Euclidean distance has the class."""
    wanted, label = label_ids(own, known)
    mine, group = name_ids(own.groups(), known.groups())
    far = torch.cdist(own.feature.double(), known.feature.double())
    if leave_group_out:
        far.masked_fill_(mine[:, None] == group, torch.inf)
    return label[far.argmin(1)] == wanted


def asked(known: Features, own: Features, *, leave_group_out: bool) -> dict[str, torch.Tensor]:
    """Way of WAYS to bool [Q]: whether the class of each video is told."""
    how: dict[str, Any] = {"leave_group_out": leave_group_out}
    return {
        "R@1": retrieval(own, known, (1,), **how)[1],
        "R@1, not normalised": not_normalised(known, own, **how),
        **{way: retrieval(own, known, (1,), scaling=scaling, **how)[1] for way, scaling in SCALED.items()},
        "5-NN": knn_probe(known, own, 5, **how).correct,
        "5-NN, standardised": knn_probe(known, own, 5, scaling="standardise", **how).correct,
        "linear": linear_probe(known, own, **how).correct,
    }


def middle(clip: torch.Tensor) -> torch.Tensor:
    """The feature of the middle clip alone."""
    return clip[:, clip.shape[1] // 2]


def mean_of_unit(clip: torch.Tensor) -> torch.Tensor:
    """The mean over the clips after each was normalised."""
    return functional.normalize(clip, dim=2).mean(1)


def variants(known: Mapping[str, Seen], own: Mapping[str, Seen]) -> Iterator[tuple[str, Pair, Pair | None]]:
    """Name of what is changed; features of the trained and of the untrained encoder (None: those of the first)."""

    def pair(name: str, *how: Any) -> Pair:
        return known[name].video(*how), own[name].video(*how)

    def both(*how: Any) -> tuple[Pair, Pair]:
        return pair("trained", *how), pair("untrained", *how)

    yield "as published: mean of the last map, 10 clips", *both(LAST, "avg")
    yield "one clip", *both(LAST, "avg", middle)
    yield "each clip normalised before the mean", *both(LAST, "avg", mean_of_unit)
    anew = [pair(f"{name}, recalibrated", LAST, "avg") for name in ("trained", "untrained")]
    yield "batch norm recomputed on these videos", anew[0], anew[1]
    for name in (name for name in known if name.startswith("after ")):
        yield name, pair(name, LAST, "avg"), None
    for pool, layer in product(POOLS, LAYERS):
        if (layer, pool) != (LAST, "avg"):
            yield f"{layer}, {pool}", *both(layer, pool)


def compared(
    known: Mapping[str, Seen], own: Mapping[str, Seen], data: Splits
) -> dict[str, dict[str, dict[str, float]]]:
    """Variant to way to fractions: trained, untrained, and the gain with its ends (paired bootstrap over groups)."""
    (group,) = name_ids(own["trained"].about.groups())
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    first: dict[str, torch.Tensor] = {}
    for name, trained, untrained in tqdm(list(variants(known, own)), desc="asked", leave=False, disable=None):
        after = asked(*trained, leave_group_out=data.leave_group_out)
        before = first if untrained is None else asked(*untrained, leave_group_out=data.leave_group_out)
        first = first or before
        numbers[name] = {}
        for way in WAYS:
            more = gain(after[way], before[way], group, draws=DRAWS)
            numbers[name][way] = {
                "trained": float(after[way].double().mean()),
                "untrained": float(before[way].double().mean()),
                "gain": more.value,
                "low": float(more.low or 0.0),
                "high": float(more.high or 0.0),
            }
    return numbers


def answer(run: TrainedRun, index: VideoIndex, data: Splits) -> dict[str, Any]:
    """What is asked of a run, as a part of a result."""
    config, span = run.recipe.train, run.recipe.pretext.plan.frames
    _, held = split(index, config.holdout, seed=config.seed, group=config.group, span=span)
    model, _ = trained_model(run.path)
    task = pretext_accuracy(model, held, tuples=4, workers=1, store=run.store)
    clips = DEFAULT_VIEW.of(run.recipe, store=run.store)
    saved = complete(run.folder)
    encoders = {"trained": trained_encoder(saved[-1])[0], "untrained": untrained_encoder(run.recipe)}
    for name in ("trained", "untrained"):
        encoders[f"{name}, recalibrated"] = recalibrated(encoders[name], data.train, clips, config.seed)
    for path in saved[:-1]:
        step = int(path.name.removeprefix("step_"))
        encoders[f"after {step} of {run.step} steps"] = trained_encoder(path)[0]
    known = seen(encoders, data.train, clips)
    own = known if data.leave_group_out else seen(encoders, data.test, clips)
    pairs = Baselines(run, data, known["trained"].about, own["trained"].about, progress=False).pairs
    return {
        "steps": run.step,
        "seed": config.seed,
        "encoder": run.recipe.encoder,
        "videos": len(own["trained"].about.label),
        "groups": len(set(own["trained"].about.groups())),
        "chance": majority_fraction(own["trained"].about.label),
        "task": {"right": task.accuracy, "chance": task.chance, "tuples": task.tuples},
        "numbers": compared(known, own, data),
        "low level": {
            name: fractions(asked(*pair, leave_group_out=data.leave_group_out)) for name, pair in pairs.items()
        },
        "facts": {name: facts(known[name]) for name in ("trained", "untrained")},
    }


def fractions(right: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Fraction of the videos whose class is told, by way."""
    return {way: float(one.double().mean()) for way, one in right.items()}


def sets(where: Path, seed: int, demo: bool, tennis: Path | None, weizmann: Path | None) -> dict[str, VideoIndex]:
    """Name to videos with classes and groups."""
    found = {}
    if tennis is not None:
        found["tennis"] = VideoIndex.build(tennis)
    if weizmann is not None:
        found["weizmann"] = with_groups(VideoIndex.build(weizmann), PERSON)
    if demo:
        render(where / f"scenes{seed}", seed=seed, each=EACH)
        found["demo"] = VideoIndex.build(where / f"scenes{seed}")
    return found


def main(
    *,
    keep: Path,
    tennis: Path | None = None,
    weizmann: Path | None = None,
    methods: Sequence[str] = ("vcop", "odd_one_out"),
    demo: bool = True,
    seed: int = 0,
    steps: int | None = None,
    resume: bool = False,
    out: Path | None = None,
) -> None:
    """Train, ask, and append a line a set and method to a results file.

    Args:
        keep: Folder for scenes, decoded frames and runs. They stay there, and the next call continues them.
        tennis: List of labelled videos with groups; none leaves it out.
        weizmann: Folder of the Weizmann set (<action>/<person>_<action>.avi); none leaves it out.
        methods: Which.
        demo: Whether to take the demo's set.
        seed: Of weights, tuples, and the demo's videos.
        steps: Of training; none takes each method's own.
        resume: Leave out what `out` has already, of this commit.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if unknown := set(methods) - set(STEPS["demo"]):
        raise VidsslError(f"methods={sorted(unknown)}: take some of {', '.join(STEPS['demo'])}")
    torch.set_num_threads(1)
    store = FrameStore(keep / "store")
    for name, index in sets(keep, seed, demo, tennis, weizmann).items():
        for method in methods:
            title = f"{name}, {method}" + (f", seed {seed}" if seed else "")
            if resume and measured("why", title, out):
                continue
            length = steps or STEPS[name][method]
            run = pretrain(recipe_of(name, method, seed), index, length, keep / f"{name}-{method}-{seed}", store)
            data = make_splits(run.recipe, run.trained_on, index, leave_group_out=name != "demo")
            found = answer(run, index, data)
            first = next(iter(found["numbers"].values()))
            told = "; ".join(
                f"{way} {100 * one['trained']:.1f} / {100 * one['untrained']:.1f}" for way, one in first.items()
            )
            tqdm.write(f"{title}: task {found['task']}; {told} (trained / untrained, %)")
            append({"bench": "why", "workload": title, **found, **circumstances()}, out)


if __name__ == "__main__":
    tyro.cli(main)
