"""A run that is killed goes on as if nothing had been: the same log, the same weights, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.train.processes import family, finish, run, start, steady, wait_for_step
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint

OPTIONS = ("--steps", "40", "--save-every", "7", "--log-every", "3", "--val-every", "20", "--show-every", "10")


def same(one: Path, other: Path) -> None:
    """The logs, the newest checkpoints and what resuming needs are the same."""
    assert steady(one) == steady(other)
    paths = [checkpoint.find(out) for out in (one, other)]
    assert paths[0].name == paths[1].name
    for part in ("encoder", "head"):
        weights = [checkpoint.load_weights(path, part) for path in paths]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    states = [checkpoint.load_state(path) for path in paths]
    assert states[0]["loader"] == states[1]["loader"]
    for name, value in states[0]["optimizer"]["state"].items():
        assert torch.equal(value["momentum_buffer"], states[1]["optimizer"]["state"][name]["momentum_buffer"])
    assert checkpoint.load_meta(paths[0])["best"] == checkpoint.load_meta(paths[1])["best"]


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, index: VideoIndex, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, Path]:
    """(processes, a run that nothing interrupted)."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run(index.root, out, *OPTIONS, ranks=request.param)
    return request.param, out


@pytest.mark.parametrize("whole", [1, 2], indirect=True)
def test_killed_and_resumed_is_uninterrupted(whole: tuple[int, Path], index: VideoIndex, tmp_path: Path) -> None:
    ranks, uninterrupted = whole
    parts = tmp_path / "parts"
    for step in (9, 24):  # neither is where it saves
        process = start(index.root, parts, *OPTIONS, *(["--resume"] if parts.exists() else []), ranks=ranks)
        wait_for_step(parts, step, process)
        for pid in family(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert 0 < int(checkpoint.find(parts).name[5:]) < 40
    run(index.root, parts, *OPTIONS, "--resume", ranks=ranks)
    same(uninterrupted, parts)


@pytest.mark.parametrize("whole", [1, 2], indirect=True)
def test_terminated_it_saves_and_says_so(whole: tuple[int, Path], index: VideoIndex, tmp_path: Path) -> None:
    ranks, uninterrupted = whole
    parts = tmp_path / "parts"
    process = start(index.root, parts, *OPTIONS, ranks=ranks)
    wait_for_step(parts, 9, process)
    process.send_signal(signal.SIGTERM)
    out, error = finish(process, code=128 + signal.SIGTERM if ranks == 1 else None)
    assert "the same command with --resume continues" in out + error
    assert 9 <= int(checkpoint.find(parts).name[5:]) < 40
    run(index.root, parts, *OPTIONS, "--resume", ranks=ranks)
    same(uninterrupted, parts)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_live_run_is_neither_resumed_nor_replaced(ranks: int, index: VideoIndex, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = start(index.root, out, "--steps", "100000", "--save-every", "5", "--log-every", "1")
    wait_for_step(out, 5, first)
    for options in ((), ("--resume",)):
        said = finish(start(index.root, out, "--steps", "9", *options, ranks=ranks), code=None)[1]
        assert f"error: train: out='{out}': process {first.pid} on " in said
        assert "wait until it ends, or name another folder" in said
    first.kill()
    first.communicate()
    run(index.root, out, "--steps", str(int(checkpoint.find(out).name[5:])), "--resume")  # kill -9 leaves it free
    assert not (out / ".lock").exists()
