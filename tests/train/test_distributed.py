"""Two processes train like one: the same tuples, the same losses."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest

from tests.train.processes import family, finish, lines, run, start, wait_for_step
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.types import VidsslError

OPTIONS = (
    "--norm",
    "group",
    "--dropout",
    "0",
    "--lr",
    "0.001",
    "--steps",
    "12",
    "--log-every",
    "1",
    "--val-every",
    "6",
    "--save-every",
    "6",
)


@pytest.fixture(scope="module")
def alone(index: VideoIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    run(index.root, out, *OPTIONS)
    return out


def test_two_processes_have_the_losses_of_one(alone: Path, index: VideoIndex, tmp_path: Path) -> None:
    said = run(index.root, tmp_path / "two", *OPTIONS, ranks=2)
    assert "x 2 processes" in said
    one, two = lines(alone), lines(tmp_path / "two")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        for name in ("train/loss", "val/loss", "train/grad_norm"):
            if name in a:
                assert math.isclose(a[name], b[name], rel_tol=1e-5), (a["step"], name, a[name], b[name])
        for name in ("train/confusion", "val/confusion"):
            if name in a:
                assert sum(map(sum, a[name])) == sum(map(sum, b[name]))
    assert one[0]["train/loss"] != one[5]["train/loss"]  # it moves, so that agreeing says something
    weights = [checkpoint.load_weights(checkpoint.find(out), "encoder") for out in (alone, tmp_path / "two")]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-3 for name in weights[0])


def test_a_run_of_two_goes_on_as_one(alone: Path, index: VideoIndex, tmp_path: Path) -> None:
    """Another number of processes continues the same sequence of tuples."""
    run(index.root, tmp_path / "two", *OPTIONS, "--steps", "6", ranks=2)
    run(index.root, tmp_path / "two", *OPTIONS, "--resume")
    for a, b in zip(lines(alone), lines(tmp_path / "two"), strict=True):
        assert math.isclose(a.get("train/loss", 0.0), b.get("train/loss", 0.0), rel_tol=2e-4)


def test_torchrun_starts_it_anew_where_it_was(index: VideoIndex, tmp_path: Path) -> None:
    """--max-restarts: a process that dies takes all down; all begin again from the checkpoint, without --resume."""
    run(index.root, tmp_path / "whole", *OPTIONS, "--steps", "40", ranks=2)
    process = start(index.root, tmp_path / "parts", *OPTIONS, "--steps", "40", ranks=2, restarts=1)
    wait_for_step(tmp_path / "parts", 8, process)
    workers = [pid for pid in family(process.pid) if pid != process.pid]
    os.kill(workers[0], signal.SIGKILL)
    finish(process)
    one, two = lines(tmp_path / "whole"), lines(tmp_path / "parts")
    assert [line["train/loss"] for line in one if "train/loss" in line] == [
        line["train/loss"] for line in two if "train/loss" in line
    ]


def test_ranks_slice_one_sequence(index: VideoIndex, recipe: Recipe) -> None:
    def shown(size: int) -> list[tuple[int, int]]:
        found = []
        loaders = [
            Loader(
                index, recipe.pretext, batch_size=4 // size, rank=rank, world_size=size, device="cpu", workers=1, seed=3
            )
            for rank in range(size)
        ]
        for batches in zip(*loaders, strict=True):
            for batch in batches:
                found += list(zip(batch.video.tolist(), batch.frame[:, 0, 0].tolist(), strict=True))
        for loader in loaders:
            loader.close()
        return found

    assert shown(1) == shown(2) == shown(4)


@pytest.mark.parametrize(
    ("config", "processes", "named"),
    [
        (
            TrainConfig(batch_size=9),
            2,
            r"batch_size=9: take a multiple of accumulate=1 x 2 processes, at least 4: batch norm needs 2",
        ),
        (TrainConfig(batch_size=8, accumulate=2), 4, r"batch_size=8: .*accumulate=2 x 4 processes, at least 16"),
        (
            TrainConfig(batch_size=6, tuples_per_window=2),
            2,
            r"take a multiple of 4: tuples_per_window=2 for each of 2 proc",
        ),
    ],
)
def test_a_batch_that_cannot_be_shared_is_named(config: TrainConfig, processes: int, named: str) -> None:
    with pytest.raises(VidsslError, match=named):
        config.local_batch_size(processes)


def test_group_norm_needs_no_pairs() -> None:
    assert TrainConfig(batch_size=4, norm="group").local_batch_size(4) == 1


def test_sync_bn_on_cpus_is_refused(index: VideoIndex, tmp_path: Path) -> None:
    process = start(index.root, tmp_path / "run", "--steps", "2", "--sync-bn", ranks=2)
    _, error = finish(process, code=None)
    assert "sync_bn=True: PyTorch has it for GPUs only; take norm=group" in error
