"""Do pretrained encoders beat their untrained twins and low-level features on real clips? The experiment's queue.

    python -m benchmarks.bench_time --data REAL --weizmann FOLDER --keep RUNS --out benchmarks/results --minutes 20

Each method is pretrained without labels, with each seed, in two forms. Inductive: no clip of the groups that are asked
for (backgrounds of tennis, persons of Weizmann) is in any pretraining, and probes learn on the other groups.
Transductive: all clips are seen in pretraining, and each group is told with what the others tell. Asked are retrieval,
k-NN and linear probes of the encoder's own feature and of a grid of its last map, and how sensitive the features are to
direction, order and speed; beside them, low-level features under the same probes.

A method is the name of a recipe, with the names of tasks behind it if it is to learn others or several at once:
vcop_r3d_tiny:vcop,pace,arrow. All seeds of a method make as many steps: as many as fit into the minutes, by a
measurement that is made once and kept in RUNS/steps.json.

The queue may be stopped at any time (Ctrl-C, or `timeout --signal=INT 2h python -m ...`). The same command continues:
what the results have is left out, a training that was stopped is resumed, and features are kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from benchmarks.harness import append, circumstances
from benchmarks.runs import train_or_resume
from benchmarks.time_sets import FORMS, Sets, read_sets
from vidssl.evaluate.attentive import Attentive, attentive_probe, last_maps
from vidssl.evaluate.cache import run_features
from vidssl.evaluate.confidence import name_ids
from vidssl.evaluate.features import Features
from vidssl.evaluate.logistic import standardise
from vidssl.evaluate.low_level import low_level_features
from vidssl.evaluate.probe import knn_probe, linear_probe
from vidssl.evaluate.retrieval import retrieval
from vidssl.evaluate.run import TrainedRun, View, load_run
from vidssl.evaluate.splits import Splits
from vidssl.evaluate.time import LEAST, QUESTIONS, make_player, played_features, question_probe
from vidssl.paths import atomic_write
from vidssl.pretext import join
from vidssl.recipes import RECIPES
from vidssl.store.frames import FrameStore, parse_size
from vidssl.train.config import Recipe
from vidssl.types import VidsslError

METHODS = (
    "vcop_r3d_tiny",
    "odd_one_out_tiny",
    "shuffle_learn_tiny",
    "opn_tiny",
    "pace_r3d_tiny",
    "arrow_r3d_tiny",
    "vcop_r3d_tiny:vcop,pace,arrow",
)
WHOLE, MAP, FEW = View(), View(pool="map"), View(clips=4)
PILOT = (10, 30)  # steps between which the time of a step is measured
Right = Mapping[str, Mapping[str, torch.Tensor]]  # "trained", "untrained" or a low-level feature -> way -> bool [N]


def recipe_of(method: str, seed: int, steps: int, *, quick: bool = False) -> Recipe:
    """A recipe, or its encoder with other tasks; its pictures come from a store of the size to which it resizes.

    quick: takes the smallest batches, for which a few clips are enough.
    """
    name, _, tasks = method.partition(":")
    if name not in RECIPES:
        raise VidsslError(f"methods={method!r}: take a recipe, or RECIPE:TASK,TASK; recipes are {', '.join(RECIPES)}")
    recipe = RECIPES[name]()
    pretext = join(recipe.pretext, tasks.split(",")) if tasks else recipe.pretext
    rows, columns = pretext.augment.resize
    size = f"{rows}x{columns}" if recipe.store_size == "none" else recipe.store_size
    each = max(1, steps // 5)
    config = replace(
        recipe.train, seed=seed, steps=steps, save_every=min(each, 100), val_every=each, watch=each, show_every=steps
    )
    config = replace(config, batch_size=2 * config.tuples_per_window) if quick else config
    return replace(recipe, pretext=pretext, train=config, store_size=size)


def kept_run(keep: Path, form: str, method: str, seed: int) -> TrainedRun:
    """A run that this queue trained, with the store of its frames.

    Raises:
        VidsslError: It has not been trained.
    """
    folder = run_folder(keep, form, method, seed)
    if not (folder / "run.json").is_file():
        raise VidsslError(f"keep={str(keep)!r}: no run {folder.name}; train it with benchmarks.bench_time first")
    size = load_run(folder).recipe.store_size
    return load_run(folder, store=FrameStore(keep / "store", parse_size(size)))


def pretrain(recipe: Recipe, index: Any, out: Path, store: Path) -> TrainedRun:
    """A run of a recipe; one that was begun is resumed."""
    frames = FrameStore(store, parse_size(recipe.store_size))
    return train_or_resume(recipe, index, out, frames)


def count_steps(method: str, sets: Sets, keep: Path, minutes: float) -> int:
    """How many steps fit into the minutes, measured once: training from the store, once it is filled."""
    path = keep / "steps.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if method not in kept:
        first, last = PILOT
        recipe = recipe_of(method, 0, last)
        FrameStore(keep / "store", parse_size(recipe.store_size)).fill(sets.index)
        recipe = replace(recipe, train=replace(recipe.train, log_every=1, val_every=last, watch=last, save_every=last))
        run = pretrain(recipe, sets.index, keep / "pilot" / folder_name(method), keep / "store")
        lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
        at = {line["step"]: line["seconds"] for line in lines if "train/loss" in line}
        each = (at[last] - at[first]) / (last - first)
        kept[method] = {"minutes": minutes, "seconds a step": each, "steps": max(1, round(60 * minutes / each))}
        with atomic_write(path) as aside:
            aside.write_text(json.dumps(kept, indent=1) + "\n")
    if kept[method]["minutes"] != minutes:
        then = kept[method]["minutes"]
        raise VidsslError(f"minutes={minutes}: {path} has {then} for {method}; take {then}, or another keep")
    return int(kept[method]["steps"])


def run_folder(keep: Path, form: str, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return keep / "runs" / f"{form}-{folder_name(method)}-{seed}"


def folder_name(method: str) -> str:
    return method.replace(":", "-").replace(",", "+")


def neighbours(known: Features, own: Features, *, leave_group_out: bool) -> dict[str, torch.Tensor]:
    """Way to bool [V]: whether the class of each clip is told."""
    how: dict[str, Any] = {"leave_group_out": leave_group_out}
    return {
        "R@1": retrieval(own, known, (1,), **how)[1],
        "R@1, standardised": retrieval(own, known, (1,), scaling="standardise", **how)[1],
        "5-NN": knn_probe(known, own, 5, **how).correct,
        "linear": linear_probe(known, own, **how).correct,
    }


def told(run: TrainedRun, data: Splits, attentive: Attentive | None = None) -> tuple[Right, list[str]]:
    """What the trained and the untrained encoder tell of the clips asked for, and the groups of these.

    attentive: also asks an attentive probe, made like this.
    """
    encoders = run.encoders()
    found: dict[str, dict[str, torch.Tensor]] = {name: {} for name in encoders}
    for view, what in ((WHOLE, ""), (MAP, "map: ")):
        pairs = run_features(run, data, encoders, view, device="cpu", progress=False)
        for name, known, own in zip(encoders, *pairs, strict=True):
            ways = neighbours(known, own, leave_group_out=data.leave_group_out)
            found[name] |= {f"{what}{way}": hit for way, hit in ways.items()}
    if attentive is not None:
        clips, left = FEW.of(run.recipe, store=run.store), data.leave_group_out
        train = last_maps(encoders, data.train, clips, progress=False)
        test = train if left else last_maps(encoders, data.test, clips, progress=False)
        for name in encoders:
            answer = attentive_probe(train[name], test[name], attentive, leave_group_out=left)
            found[name]["attentive"] = answer.correct
    return found, own.groups()


def low_level_told(data: Splits, keep: Path) -> tuple[Right, list[str]]:
    """The same of low-level features."""
    rows = [index.usable() for index in (data.train, data.test)]
    known, own = (
        low_level_features(keep / "low_level", *one) for one in zip((data.train, data.test), rows, strict=True)
    )
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, one in known.items():
        x, y = standardise(one.feature, own[name].feature)
        pair = one._replace(feature=x), own[name]._replace(feature=y)
        found[name] = neighbours(*pair, leave_group_out=data.leave_group_out)
    return found, next(iter(own.values())).groups()


def low_level(sets: Sets, form: str, keep: Path) -> dict[str, Any]:
    """A line of the results: what low-level features tell of each set."""
    found = {name: summed(*low_level_told(sets.splits(form, name), keep)) for name in sets.rows}
    first = next(iter(found.values()))
    return {"method": "low level", "form": form, "sets": found, "rows": list(first["numbers"])}


def timed(run: TrainedRun, index: Any) -> tuple[Right, list[str]] | None:
    """Which questions about time the encoders and low-level cues answer; None if there are too few groups."""
    if len(set(index.column("group").to_pylist())) < LEAST:
        return None
    player, _ = make_player(run, index, FEW)
    played = played_features(run, run.encoders(), index, player, view=FEW, progress=False)
    right: dict[str, dict[str, torch.Tensor]] = {name: {} for name in played}
    for question, ways in QUESTIONS.items():
        for name, features in played.items():
            if all(way in player.ways for way in ways):
                right[name][question], groups = question_probe(features, question)
    return right, [str(group) for group in groups.tolist()]


def summed(right: Right, groups: list[str]) -> dict[str, Any]:
    """A part of a result: fractions, and right answers by group, from which intervals are made.

    Groups are in the order of their names.
    """
    (at,) = name_ids(groups)
    counts = {
        name: {way: np.bincount(at.numpy(), hit.double().numpy()).astype(int).tolist() for way, hit in ways.items()}
        for name, ways in right.items()
    }
    numbers = {name: {way: float(hit.double().mean()) for way, hit in ways.items()} for name, ways in right.items()}
    return {"numbers": numbers, "sizes": np.bincount(at.numpy()).tolist(), "right": counts}


def asked(run: TrainedRun, sets: Sets, form: str, attentive: Attentive | None) -> dict[str, Any]:
    """What is asked of a run, by set, and "time"."""
    found = {name: summed(*told(run, sets.splits(form, name), attentive)) for name in sets.rows}
    answers = timed(run, sets.timed(form))
    return found | ({} if answers is None else {"time": summed(*answers)})


def learnt(run: TrainedRun) -> dict[str, float]:
    """The last measurements of the task on held-out clips, and of the features."""
    found: dict[str, float] = {}
    for text in (run.folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        found |= {name: value for name, value in line.items() if name.startswith(("val/", "watch/"))}
    return {name: value for name, value in found.items() if not name.endswith("/confusion")}


def queue(methods: Sequence[str], seeds: Sequence[int], forms: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """The cases: (method, seed, form). All methods have their first seed before one has its second."""
    for seed, form, method in product(seeds, forms, methods):
        yield method, seed, form


def lines_of(out: Path | None, bench: str) -> list[dict[str, Any]]:
    """The lines that the results have of a benchmark."""
    if out is None:
        return []
    paths = [out] if out.suffix == ".jsonl" else sorted(out.glob(f"{bench}_*.jsonl"))
    found = [json.loads(text) for path in paths if path.is_file() for text in path.read_text().splitlines()]
    return [line for line in found if line["bench"] == bench]


def run_case(
    workload: str,
    about: Mapping[str, Any],
    out: Path | None,
    measure: Callable[[], dict[str, Any]],
    *,
    bench: str = "time",
) -> None:
    """Measures a case and appends its line, unless the results have one of this workload, split and length."""
    wanted = {"bench": bench, "workload": workload, **about}
    if any(wanted.items() <= line.items() for line in lines_of(out, bench)):
        tqdm.write(f"{workload}: the results have it already")
        return
    line = {**wanted, **measure()}
    said = (
        f"{name} {way} {', '.join(f'{100 * ways[way]:.1f}' for ways in found['numbers'].values())}"
        for name, found in line["sets"].items()
        for way in next(iter(found["numbers"].values()))
    )
    tqdm.write(f"{workload}: {'; '.join(said)} ({', '.join(line['rows'])}, %)")
    append({**line, **circumstances()}, out)


def main(
    *,
    data: Path,
    keep: Path,
    weizmann: Path | None = None,
    methods: tuple[str, ...] = METHODS,
    seeds: int = 3,
    forms: tuple[str, ...] = FORMS,
    ask: tuple[str, ...] = ("tennis", "weizmann"),
    fraction: float = 1 / 3,
    minutes: float = 20.0,
    steps: int | None = None,
    attentive: bool = False,
    quick: bool = False,
    out: Path | None = None,
) -> None:
    """Pretrain every method, ask, and append a line a case to a results file.

    Args:
        data: Folder with a folder of clips for each set, and NAME.csv (path,label,group) for those with labels.
        keep: Folder for the index, the store of decoded frames, runs and features, from which the same command
            continues.
        weizmann: Folder of the Weizmann set (<action>/<person>_<action>.avi), which is then a set as well.
        methods: Recipes, or RECIPE:TASK,TASK.
        seeds: Number of seeds, from 0.
        forms: inductive, transductive or both.
        ask: Sets that are asked for.
        fraction: Of the clips of such a set, in whole groups, that no inductive pretraining sees.
        minutes: Of a training, by which its steps are counted.
        steps: Of a training, in the place of minutes.
        attentive: Also ask an attentive probe on the last map, which takes longer than everything else that is asked.
        quick: One seed, and two steps of the smallest batches: whether everything works.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if unknown := set(forms) - set(FORMS):
        raise VidsslError(f"forms={sorted(unknown)}: take some of {', '.join(FORMS)}")
    for method in methods:
        recipe_of(method, 0, 1)  # raises before anything is measured
    sets = read_sets(data, weizmann, keep, asked=ask, fraction=fraction)
    split = {"split": sets.digest}
    how = Attentive(lrs=(1e-3,), weight_decays=(0.01,), epochs=1) if quick else Attentive()
    probe = how if attentive else None
    for form in forms:
        run_case(f"{form}, low level", split, out, partial(low_level, sets, form, keep))
    for method, seed, form in queue(methods, range(1 if quick else seeds), forms):
        length = 2 if quick else steps if steps is not None else count_steps(method, sets, keep, minutes)

        recipe = recipe_of(method, seed, length, quick=quick)

        def measure(
            method: str = method, seed: int = seed, form: str = form, recipe: Recipe = recipe
        ) -> dict[str, Any]:
            index = sets.pretraining(form)
            run = pretrain(recipe, index, run_folder(keep, form, method, seed), keep / "store")
            found = {"task": learnt(run), "rows": ["trained", "untrained"], "sets": asked(run, sets, form, probe)}
            return {"method": method, "form": form, "seed": seed, "clips": len(index), **found}

        about = {**split, "steps": length, "attentive": attentive}
        # Results of the encoder that a recipe once had do not stand for it.
        about |= {"encoder": recipe.encoder, "pretext": recipe.pretext.name}
        run_case(f"{form}, {method}, seed {seed}", about, out, measure)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")
