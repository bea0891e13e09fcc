"""How long do retrieval, neighbours and probe take on as many features as UCF101 has videos, and does memory stay flat?

    python -m benchmarks.bench_features --out benchmarks/results      2 minutes

The features are synthetic: 9,537 training and 3,783 test videos (split 1) of 101 classes, each one vector, as if ten
clips had been averaged; 512 numbers (R3D's mean) and 9,216 (VCOP's pooled conv5). Each size is measured in a process of
its own. "Above the features" is the process's largest resident memory during a step, less what it had with the features
before it.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks.bench_memory import resident
from benchmarks.harness import Spent, Stopwatch, append, circumstances
from vidssl.evaluate.features import Features
from vidssl.evaluate.probe import knn_probe, linear_probe
from vidssl.evaluate.retrieval import KS, retrieval

TRAIN, TEST, CLASSES = 9_537, 3_783, 101


def made(videos: int, numbers: int, seed: int) -> Features:
    """Clouds around centres that are the same for every seed, not negative, as after a ReLU; numbers in groups that go
    together.
    """
    shared = np.random.default_rng(0)
    latent = 128
    mixing = shared.normal(size=(latent, numbers)).astype(np.float32) / np.sqrt(latent)
    centre = shared.normal(size=(CLASSES, latent)).astype(np.float32)
    random = np.random.default_rng(seed)
    label = random.integers(0, CLASSES, videos)
    feature = torch.empty(videos, numbers)
    for start in range(0, videos, 1024):
        part = slice(start, start + 1024)
        hidden = centre[label[part]] + 2.0 * random.normal(size=(len(label[part]), latent)).astype(np.float32)
        feature[part] = torch.from_numpy(
            hidden @ mixing + 0.5 * random.normal(size=(len(hidden), numbers)).astype(np.float32)
        ).relu_()
    return Features(feature, [f"c{one:03d}" for one in label], np.arange(videos))


def watched(work: Callable[[], Any]) -> tuple[Any, Spent, float]:
    """What `work` gives, its seconds, and the MiB by which resident memory grew at most while it ran."""
    before, most, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with Stopwatch() as watch_:
        result = work()
    done.set()
    watcher.join()
    return result, watch_.per(), max(0.0, most[0] - before)


def measure(numbers: int) -> dict[str, Any]:
    """Seconds, MiB and shares of each evaluation of features of `numbers` numbers."""
    known, asked = made(TRAIN, numbers, 1), made(TEST, numbers, 2)
    steps: dict[str, Callable[[], float]] = {
        "retrieval": lambda: float(retrieval(asked, known, KS)[1].double().mean()),
        "5-NN": lambda: float(knn_probe(known, asked, 5).correct.double().mean()),
        "linear probe": lambda: float(linear_probe(known, asked).correct.double().mean()),
    }
    found = {name: watched(step) for name, step in steps.items()}
    return {
        "seconds": {name: round(spent.wall, 2) for name, (_, spent, _) in found.items()},
        "processor seconds": {name: round(spent.cpu, 2) for name, (_, spent, _) in found.items()},
        "MiB above the features": {name: round(grown) for name, (_, _, grown) in found.items()},
        "right": {name: value for name, (value, _, _) in found.items()},
        "MiB of features": round(4 * numbers * (TRAIN + TEST) / 2**20),
        "threads": torch.get_num_threads(),
    }


def main(*, numbers: tuple[int, ...] = (512, 9216), out: Path | None = None) -> None:
    """Evaluate synthetic features of 13,320 videos.

    Args:
        numbers: Of a feature, each size measured by itself.
        out: File (.jsonl) or folder for the results; none only prints them.
    """
    for each in numbers:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (each,))
        print(f"{each} numbers: {found}")
        append(
            {
                "bench": "features",
                "workload": f"{each} numbers a video",
                "videos": TRAIN + TEST,
                **found,
                **circumstances(),
            },
            out,
        )


if __name__ == "__main__":
    tyro.cli(main)
