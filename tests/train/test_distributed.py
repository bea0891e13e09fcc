"""Two processes train like one: the same tuples, the same losses."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.processes import (
    family,
    finish,
    free_port,
    lines,
    run,
    start,
    start_node,
    steady,
    together,
    wait_for_step,
)
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.distributed import ProcessGroup
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


@pytest.fixture(scope="module")
def pair(index: VideoIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes of one machine."""
    out = tmp_path_factory.mktemp("pair") / "run"
    assert "x 2 processes" in run(index.root, out, *OPTIONS, ranks=2)
    return out


def test_two_processes_have_the_losses_of_one(alone: Path, pair: Path) -> None:
    one, two = lines(alone), lines(pair)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        for name in ("train/loss", "val/loss", "train/grad_norm"):
            if name in a:
                assert math.isclose(a[name], b[name], rel_tol=1e-5), (a["step"], name, a[name], b[name])
        for name in ("train/confusion", "val/confusion"):
            if name in a:
                assert sum(map(sum, a[name])) == sum(map(sum, b[name]))
    assert one[0]["train/loss"] != one[5]["train/loss"]  # it moves, so that agreeing says something
    weights = [checkpoint.load_weights(checkpoint.find(out), "encoder") for out in (alone, pair)]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-3 for name in weights[0])


def test_two_machines_without_a_shared_disk_go_on_bit_for_bit(pair: Path, index: VideoIndex, tmp_path: Path) -> None:
    """Each has the videos, with times of its own, and a store under the same paths; only the first one has the run."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        shutil.copytree(index.root, folder / "videos", copy_function=shutil.copyfile)
    shutil.copytree(pair, folders[0] / "run", symlinks=True)
    shutil.rmtree(folders[0] / "run/checkpoints/step_00000012")
    options = (*OPTIONS, "--data", "videos", "--out", "run", "--resume")
    port = free_port()
    processes = [start_node(node, port, folder, *options) for node, folder in enumerate(folders, start=1)]
    first, second = (finish(process)[0] for process in processes)
    assert "at step 6 of 12" in first
    assert not second  # rank 0 alone prints
    assert {path.name for path in (folders[1] / "run").iterdir()} == {"index.arrow"}
    assert steady(folders[0] / "run") == steady(pair)
    for name in ("encoder.safetensors", "head.safetensors"):
        whole, parts = (out / "checkpoints/step_00000012" / name for out in (pair, folders[0] / "run"))
        assert whole.read_bytes() == parts.read_bytes()


def test_each_machine_works_in_its_turn_and_all_get_the_error_of_one(tmp_path: Path) -> None:
    def work(group: ProcessGroup) -> list[str]:
        def note() -> list[str]:
            with (tmp_path / "done").open("a") as file:
                file.write(f"{group.rank}\n")
            time.sleep(0.1)
            return (tmp_path / "done").read_text().split()

        def fail() -> None:
            if group.local_rank == 0 and group.rank:
                raise VidsslError("data='x': not there")
            assert group.is_first

        found = group.run_in_turns(note)
        with pytest.raises(VidsslError) as raised:
            group.run_in_turns(fail)
        return [*found, str(raised.value)]

    results = together(work, tmp_path, nodes=(2, 2))
    assert {result[-1] for result in results} == {f"data='x': not there (rank 2, on {socket.gethostname()})"}
    assert [result[0] for result in results] == ["0"] * 4
    assert (tmp_path / "done").read_text().split()[:2] == ["0", "2"]
    assert results[0][:-1] == ["0"]
    assert results[2][:-1] == ["0", "2"]


def test_only_the_first_process_appends_to_the_file_of_that_name() -> None:
    group = ProcessGroup(device=torch.device("cpu"), world_size=2)
    assert group.own_file(Path("run/quarantine.jsonl")) == Path("run/quarantine.jsonl")
    assert replace(group, rank=1).own_file(Path("run/quarantine.jsonl")) == Path("run/quarantine_rank1.jsonl")


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
