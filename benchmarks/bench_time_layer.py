"""Does an earlier layer know more of real clips than the last one, and than low-level features?

    python -m benchmarks.bench_time_layer --data REAL --weizmann FOLDER --keep RUNS --out benchmarks/results

Evaluates the runs that `bench_time` keeps. For each method one layer, as a mean or as a grid, is chosen: the one whose
linear probe is best on the training groups (leave-group-out), in the mean over the seeds and the sets. The choice sees
no test group. Then the layer is measured on the test groups, of the trained encoder and of the untrained one.

The choice is made with the inductive runs. The transductive runs are measured with the same layer, on every group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.bench_time import WHOLE, Right, kept_run, low_level, neighbours, run_case, summed
from benchmarks.clip_features import Seen, seen
from benchmarks.time_sets import FORMS, Sets, read_sets
from vidssl.evaluate.features import Features
from vidssl.evaluate.probe import linear_probe
from vidssl.evaluate.run import TrainedRun
from vidssl.types import VidsslError

METHODS = ("vcop_r3d_tiny", "odd_one_out_tiny")
Key = tuple[str, str]  # a layer, and how its output is pooled
ByKey = Mapping[Key, Features]


def by_key(found: Seen) -> dict[Key, Features]:
    """One feature a video, the mean over its clips, of each layer and pooling."""
    return {(layer, pool): found.video(layer, pool) for layer, pool in found.clip}


def look(run: TrainedRun, sets: Sets, name: str) -> dict[str, dict[Key, Features]]:
    """Features of every clip of a set, by encoder (trained, untrained), layer and pooling."""
    clips = WHOLE.of(run.recipe, store=run.store)
    return {
        who: by_key(found) for who, found in seen(run.encoders(), sets.index.select(sets.rows[name]), clips).items()
    }


def places(sets: Sets, name: str, features: Features) -> tuple[Any, Any]:
    """int64: where the clips of the training groups, and of the test groups, are among the features of a set."""
    test = np.isin(sets.rows[name][features.row], sets.asked[name])
    return np.flatnonzero(~test), np.flatnonzero(test)


def training_scores(found: Sequence[ByKey], sets: Sets, name: str) -> dict[Key, float]:
    """Accuracy of a linear probe on the training clips (leave-group-out) by layer and pooling; mean of the runs."""
    scores: dict[Key, float] = {}
    for key in found[0]:
        hits = []
        for features in found:
            known = features[key].take(places(sets, name, features[key])[0])
            hits.append(float(linear_probe(known, known, leave_group_out=True).correct.double().mean()))
        scores[key] = float(np.mean(hits))
    return scores


def choose(scores: Mapping[str, Mapping[Key, float]]) -> Key:
    """The layer and pooling with the best mean over the sets; the first of equals."""
    keys = list(next(iter(scores.values())))
    return max(keys, key=lambda key: float(np.mean([one[key] for one in scores.values()])))


def answers(features: Mapping[str, ByKey], key: Key, sets: Sets, form: str, name: str) -> dict[str, Any]:
    """Which test clips each encoder's layer classifies correctly, by group; of transductive runs, every clip."""
    right: Right = {}
    for who, found in features.items():
        train, test = places(sets, name, found[key])
        whole = form == "transductive"
        known, own = (found[key], found[key]) if whole else (found[key].take(train), found[key].take(test))
        right = {**right, who: neighbours(known, own, leave_group_out=whole)}
    return summed(right, own.groups())


def asked(
    run: TrainedRun,
    sets: Sets,
    form: str,
    key: Key,
    given: Mapping[str, Mapping[str, ByKey]] | None,
    *,
    seed: int,
    tried: Mapping[str, Any],
) -> dict[str, Any]:
    """A line of the results: the chosen layer of a run, measured on each set.

    given: The features of each set by encoder, if they are computed already. tried: The scores of the choice.
    """
    told = {
        name: answers(given[name] if given is not None else look(run, sets, name), key, sets, form, name)
        for name in sets.rows
    }
    return {"form": form, "seed": seed, "training groups": tried, "rows": ["trained", "untrained"], "sets": told}


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
    out: Path | None = None,
) -> None:
    """Choose a layer for each method, measure it, and append a line a run to a results file.

    Args:
        data: Folder of the clips, as bench_time takes it.
        keep: Folder in which bench_time keeps its runs.
        weizmann: Folder of the Weizmann set.
        methods: Methods whose runs are evaluated.
        seeds: Number of seeds, from 0.
        forms: inductive, transductive or both; the inductive runs are needed for the choice.
        ask: Sets with labels that are evaluated.
        fraction: Of the clips of such a set that no inductive pretraining sees.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    if unknown := set(forms) - set(FORMS):
        raise VidsslError(f"forms={sorted(unknown)}: take some of {', '.join(FORMS)}")
    runs = {
        (form, method, seed): kept_run(keep, form, method, seed)
        for form in {"inductive", *forms}
        for method in methods
        for seed in range(seeds)
    }
    sets = read_sets(data, weizmann, keep, asked=ask, fraction=fraction)
    about = {"split": sets.digest}
    for form in forms:
        run_case(f"{form}, low level", about, out, partial(low_level, sets, form, keep), bench="time_layer")
    for method in methods:
        found = [
            {name: look(runs["inductive", method, seed], sets, name) for name in sets.rows} for seed in range(seeds)
        ]
        scores = {name: training_scores([one[name]["trained"] for one in found], sets, name) for name in sets.rows}
        key = choose(scores)
        tried = {" ".join(one): {name: scores[name][one] for name in scores} for one in scores[ask[0]]}
        for form, seed in product(forms, range(seeds)):
            run = runs[form, method, seed]
            case = {**about, "method": f"{method}, {' '.join(key)}", "steps": run.recipe.train.steps}
            given = found[seed] if form == "inductive" else None
            measure = partial(asked, run, sets, form, key, given, seed=seed, tried=tried)
            run_case(f"{form}, {method}, seed {seed}", case, out, measure, bench="time_layer")


if __name__ == "__main__":
    tyro.cli(main)
