"""Do features that learnt from time add anything to those of an encoder that learnt from labels?

    python -m benchmarks.bench_complement --data REAL --weizmann FOLDER --keep RUNS --out benchmarks/results

Takes the inductive runs that `bench_time` keeps. The training groups of a set are halved. With the labels of one half,
an encoder like the run's is trained from its random start. A linear probe is trained on the other half and
measured on the test groups: with the features of the run (A), of the supervised encoder (B), and with both. The
untrained encoder in the place of A shows what more numbers alone would add.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from benchmarks.bench_time import kept_run, run_case, summed
from benchmarks.time_sets import Rows, Sets, by_digest, read_sets
from vidssl.evaluate.cache import run_features
from vidssl.evaluate.features import Features
from vidssl.evaluate.finetune import FineTune, evaluate_finetune, finetune_folder
from vidssl.evaluate.probe import linear_probe
from vidssl.evaluate.run import TrainedRun, View, trained_encoder
from vidssl.evaluate.splits import Splits
from vidssl.train import checkpoint
from vidssl.train.config import TrainConfig
from vidssl.types import VidsslError

METHODS = ("vcop_r3d_tiny", "odd_one_out_tiny")


def halves(sets: Sets, name: str) -> tuple[Rows, Rows]:
    """int64: the clips of every second training group, in an order by their names alone, and the others."""
    rows = np.setdiff1d(sets.rows[name], sets.asked[name])
    groups = [str(group) for group in sets.index.select(rows).column("group").to_pylist()]
    order = by_digest(groups)
    if len(order) < 2:
        raise VidsslError(f"ask={name!r}: it has {len(order)} training group(s), which cannot be halved")
    first = np.isin(groups, order[::2])
    return rows[first], rows[~first]


def supervised(run: TrainedRun, sets: Sets, name: str, keep: Path, steps: int) -> torch.nn.Module:
    """An encoder like the run's that is trained with the labels of the first half; one that was begun is resumed."""
    known, others = halves(sets, name)
    data = Splits(train=sets.index.select(known), test=sets.index.select(others), description="half of the groups")
    config = TrainConfig(
        steps=steps,
        batch_size=min(16, len(known)),
        lr=0.01,
        holdout=0.0,
        seed=run.recipe.train.seed,
        save_every=max(1, steps // 2),
    )
    how = FineTune(init="scratch", select="last", clips=1, train=config)
    own = replace(run, folder=keep / "supervised" / f"{run.folder.name}-{name}-{steps}")
    own.folder.mkdir(parents=True, exist_ok=True)
    folder = finetune_folder(own.folder, how)
    begun = checkpoint.complete(folder)
    if not begun or checkpoint.load_meta(begun[-1], "step")["step"] < steps:
        evaluate_finetune(own, data, how, resume=bool(begun), device="cpu", quiet=True)
    encoder, _ = trained_encoder(checkpoint.locate(folder)[1])
    return encoder


def beside(a: Features, b: Features) -> Features:
    """Both features of each clip."""
    return a._replace(feature=torch.cat((a.feature, b.feature), 1))


def told(run: TrainedRun, sets: Sets, name: str, view: View, keep: Path, steps: int) -> dict[str, Any]:
    """Which test clips a linear probe on A, on B and on both classifies correctly, by group."""
    _, rows = halves(sets, name)
    data = Splits(
        train=sets.index.select(rows), test=sets.index.select(sets.asked[name]), description="groups that no one saw"
    )
    encoders = {**run.encoders(), "B": supervised(run, sets, name, keep, steps)}
    pairs = run_features(run, data, encoders, view, device="cpu", progress=False)
    found = dict(zip(encoders, zip(*pairs, strict=True), strict=True))
    trained, untrained, other = found["trained"], found["untrained"], found["B"]
    sides = {
        "A": trained,
        "A untrained": untrained,
        "B": other,
        "A + B": (beside(trained[0], other[0]), beside(trained[1], other[1])),
        "A untrained + B": (beside(untrained[0], other[0]), beside(untrained[1], other[1])),
    }
    right = {side: {"linear": linear_probe(*pair).correct} for side, pair in sides.items()}
    return summed(right, other[1].groups())


def main(
    *,
    data: Path,
    keep: Path,
    weizmann: Path | None = None,
    methods: tuple[str, ...] = METHODS,
    seeds: int = 3,
    ask: tuple[str, ...] = ("tennis", "weizmann"),
    fraction: float = 1 / 3,
    layer: str = "stages.1",
    pool: Literal["avg", "map"] = "map",
    steps: int = 600,
    out: Path | None = None,
) -> None:
    """Train supervised encoders and probes, and append a line a run to a results file.

    Args:
        data: Folder of the clips, as bench_time takes it.
        keep: Folder in which bench_time keeps its runs.
        weizmann: Folder of the Weizmann set.
        methods: Methods whose runs are evaluated.
        seeds: Number of seeds, from 0.
        ask: Sets with labels that are evaluated.
        fraction: Of the clips of such a set that no inductive pretraining sees.
        layer: Whose output is the feature of every encoder; bench_time_layer chose the default.
        pool: How it is pooled.
        steps: Of the supervised training.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    sets = read_sets(data, weizmann, keep, asked=ask, fraction=fraction)
    view = View(layer=layer, pool=pool)
    about = {"split": sets.digest, "layer": layer, "pool": pool, "supervised steps": steps}
    for method, seed in product(methods, range(seeds)):
        run = kept_run(keep, "inductive", method, seed)

        def measure(run: TrainedRun, method: str, seed: int) -> dict[str, Any]:
            found = {name: told(run, sets, name, view, keep, steps) for name in sets.rows}
            rows = list(next(iter(found.values()))["numbers"])
            return {"method": method, "form": "inductive", "seed": seed, "rows": rows, "sets": found}

        run_case(f"{method}, seed {seed}", about, out, partial(measure, run, method, seed), bench="complement")


if __name__ == "__main__":
    tyro.cli(main)
