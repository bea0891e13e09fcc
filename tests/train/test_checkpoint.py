"""Checkpoints are whole or not there."""

import errno
import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter

from tests.train.processes import finish, start, wait_for_step
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError


def _save(out: Path, step: int, keep: int = 5) -> Path:
    weights = {"weight": torch.full((2, 3), float(step)).to(memory_format=torch.contiguous_format).T}  # not contiguous
    return checkpoint.save(
        out, step, encoder=weights, head=weights, state={"step": step}, meta={"step": step}, keep=keep
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = _save(tmp_path, 12)
    assert torch.equal(checkpoint.load_weights(path, "encoder")["weight"], torch.full((3, 2), 12.0))
    assert checkpoint.load_state(path) == {"step": 12}
    assert checkpoint.load_meta(path)["step"] == 12
    assert checkpoint.find(tmp_path) == checkpoint.find(path) == path


def test_the_newest_whole_one_counts(tmp_path: Path) -> None:
    for step in (9, 20, 100):
        _save(tmp_path, step)
    torn = tmp_path / "checkpoints" / "step_00000200"
    torn.mkdir()
    (torn / "encoder.safetensors").write_bytes(b"half")
    cut = _save(tmp_path, 300) / "state.pt"
    cut.write_bytes(cut.read_bytes()[:-7])
    changed = _save(tmp_path, 400) / "encoder.safetensors"
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")  # as long as it was
    assert (changed.stat().st_mode & 0o777) == ((changed.parent / "meta.json").stat().st_mode & 0o777)
    found, damaged = checkpoint.latest(tmp_path)
    assert found == tmp_path / "checkpoints" / "step_00000100"
    assert [path.name for path in damaged] == ["step_00000400", "step_00000300", "step_00000200"]
    assert [int(path.name[5:]) for path in checkpoint.complete(tmp_path)] == [9, 20, 100, 400]
    assert checkpoint.find(tmp_path).name == "step_00000100"


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".step_00000001.99999"
    left.mkdir(parents=True)
    _save(tmp_path, 2)
    assert not left.exists()


def test_a_crash_while_writing_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, 1)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(VidsslError, match=r"step_00000002 cannot be written: No space left"):
        _save(tmp_path, 2)
    assert [path.name for path in checkpoint.complete(tmp_path)] == ["step_00000001"]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _save(tmp_path, step, keep=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step_00000002", "step_00000003"]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_goes_on_before_a_damaged_checkpoint(keep: int, tmp_path: Path) -> None:
    _save(tmp_path, 1)
    for step in (8, 9):
        changed = _save(tmp_path, step) / "state.pt"
        changed.write_bytes(changed.read_bytes()[:-1] + b"x")  # as long as it was
    mine = changed.parent / "notes.txt"
    mine.write_text("mine")
    for step in (2, 3):
        path = _save(tmp_path, step, keep=keep)
        assert checkpoint.latest(tmp_path) == (path, [mine.parent])
    kept = [f"step_{step:08d}" for step in (1, 2, 3)[-keep:]]
    assert sorted(one.name for one in (tmp_path / "checkpoints").iterdir()) == [*kept, "step_00000009"]
    assert [one.name for one in mine.parent.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", checkpoint.FILES)
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    path = _save(tmp_path, 1)
    (path / name).write_bytes(b"x")
    with pytest.raises(VidsslError, match=name):
        (
            checkpoint.load_meta(path),
            checkpoint.load_weights(path, "encoder"),
            checkpoint.load_weights(path, "head"),
            checkpoint.load_state(path),
        )


def test_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="no checkpoint in it"):
        checkpoint.find(tmp_path)
    with pytest.raises(VidsslError, match="no such folder"):
        checkpoint.find(tmp_path / "none")


def test_a_full_disk_leaves_the_checkpoints_before(index: VideoIndex, tmp_path: Path) -> None:
    """Real writes that fail: no file may grow over a bound that checkpoints are above."""
    run = tmp_path / "run"
    options = ("--save-every", "2", "--val-every", "100", "--keep", "3")
    finish(start(index.root, run, "--steps", "4", *options))
    before = checkpoint.complete(run)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    _, error = finish(start(index.root, run, "--steps", "8", *options, "--resume", before=bound), code=2)
    assert "checkpoint step_00000006 cannot be written: " in error
    assert "Traceback" not in error
    assert "earlier checkpoints are whole, and --resume continues" in error
    assert checkpoint.complete(run) == before
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")] == []
    finish(start(index.root, run, "--steps", "8", *options, "--resume"))
    assert checkpoint.find(run).name == "step_00000008"


def test_a_full_disk_under_the_log_ends_in_a_checkpoint(index: VideoIndex, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--save-every", "100", "--log-every", "3", "--val-every", "100")
    finish(start(index.root, run, "--steps", "2", *options))
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to("/dev/full")
    _, error = finish(start(index.root, run, "--steps", "8", *options, "--resume"), code=2)
    assert "the log cannot be written at step 3: No space left on device; free some space there" in error
    assert f"checkpoint: {run / 'checkpoints' / 'step_00000003'}; the same command with --resume continues" in error
    assert "Traceback" not in error
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").write_text(lines)
    finish(start(index.root, run, "--steps", "8", *options, "--resume"))
    assert checkpoint.find(run).name == "step_00000008"


def test_a_full_disk_under_tensorboard_ends_in_a_checkpoint(
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its writer is a thread, which raises when it likes."""
    real = RecordWriter.write

    def write(self: RecordWriter, data: bytes) -> None:
        if (tmp_path / "run" / "metrics.jsonl").read_text().count("train/loss") >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, data)

    monkeypatch.setattr(RecordWriter, "write", write)
    recipe = replace(recipe, train=replace(recipe.train, log_every=1, val_every=100, save_every=100))
    with pytest.raises(
        VidsslError, match=r"the log cannot be written at step .*No space left on device.* checkpoint: "
    ):
        train(recipe, index, tmp_path / "run", steps=20, device="cpu", quiet=True)
    assert 2 <= int(checkpoint.find(tmp_path / "run").name[5:]) <= 6
    assert "Traceback" not in capfd.readouterr().err
    monkeypatch.undo()
    assert train(recipe, index, tmp_path / "run", steps=20, resume=True, device="cpu", quiet=True).step == 20


def test_a_folder_that_is_deleted_in_mid_run_ends_in_a_checkpoint(index: VideoIndex, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--save-every", "30", "--log-every", "1", "--val-every", "1000")
    process = start(index.root, run, "--steps", "1000", *options)
    wait_for_step(run, 2, process)
    run.rename(tmp_path / "moved")
    _, error = finish(process, code=2)
    assert f"out='{run}': the folder was deleted or replaced while the run wrote to it" in error
    assert "Traceback" not in error
    found = checkpoint.find(run)
    assert str(found) in error
    finish(
        start(tmp_path / "moved" / "index.arrow", run, "--steps", str(int(found.name[5:]) + 1), *options, "--resume")
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fixed": None}, "it has no 'fixed'"),
        ({"videos": "many"}, "its 'videos' is 'many', not of type int"),
        ({"fixed": "x"}, "its 'fixed' is 'x', not of type dict"),
        ({"versions": {"commit": 1.5}}, "its version of 'commit' is 1.5, not a text"),
    ],
)
def test_a_description_of_another_kind_is_refused_by_key(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    about = {"fixed": {}, "videos": 3, "data": "abcd", "amp": "off"} | changed
    (tmp_path / "meta.json").write_text(json.dumps({key: value for key, value in about.items() if value is not None}))
    with pytest.raises(VidsslError, match=rf"meta.json cannot be read \({message}\); take another checkpoint"):
        checkpoint.load_meta(tmp_path, "fixed", "videos")
