"""A command takes recipe, settings and videos from a run, and refuses what contradicts them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import make_videos
from tests.train.processes import SMALL
from vidssl.cli import main
from vidssl.index.table import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.recorded import CHANGEABLE
from vidssl.train.train import train
from vidssl.types import VidsslError

TRAIN = ("train", "vcop_r3d_tiny")
Said = Callable[[], str]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos")).root


@pytest.fixture
def out(videos: Path, tmp_path: Path) -> Path:
    """A run whose settings differ from its recipe's, after one step."""
    assert main([*TRAIN, "--data", str(videos), "--out", str(tmp_path / "RUN"), *SMALL, "--steps", "1"]) == 0
    return tmp_path / "RUN"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().err


def recipe_of(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "run.json").read_text())["recipe"])


def test_a_run_is_resumed_without_its_settings(out: Path, videos: Path, tmp_path: Path) -> None:
    before = recipe_of(out)
    assert main([*TRAIN, "--out", str(out), "--resume", "--steps", "3", "--log-every=2", "--device", "cpu"]) == 0
    assert recipe_of(out) == before | {"train": {**before["train"], "steps": 3, "log_every": 2}}  # type: ignore[dict-item]
    whole = tmp_path / "whole"
    assert main([*TRAIN, "--data", str(videos), "--out", str(whole), *SMALL, "--steps", "3"]) == 0
    one, other = (checkpoint.load_weights(checkpoint.find(run), "encoder") for run in (out, whole))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_what_is_given_again_may_be_the_same_and_not_another(out: Path, said: Said) -> None:
    resume = [*TRAIN, "--out", str(out), "--resume", "--device", "cpu"]
    assert main([*resume, *SMALL, "--steps", "2"]) == 0
    said()
    assert main([*resume, "--lr", "0.001", "--no-decay-vectors", "--crop", "16", "18", "--steps", "3"]) == 2
    found = said()
    for text in (
        f"train: resume: out='{out}': ",
        "train.lr: 0.01 in the run, 0.001 here",
        "train.decay_vectors: True in the run, False here",
        "pretext.augment.crop: [16, 16] in the run, [16, 18] here",
        "leave them out, or take another out (only ",
        ", ".join(CHANGEABLE),
    ):
        assert text in found
    assert "train.steps" not in found
    assert main([*resume, "--seed", "632"]) == 2  # the recipe's own value: it is given all the same
    assert "train.seed: 5 in the run, 632 here; leave it out" in said()
    assert main(["train", "pace_r3d_tiny", *resume[2:]]) == 2
    assert "recipe='pace_r3d_tiny': the run is one of vcop_r3d_tiny; name that recipe, or take another out" in said()


def test_a_cosine_run_says_why_its_end_is_fixed(videos: Path, tmp_path: Path, said: Said) -> None:
    command = [*TRAIN, "--data", str(videos), "--out", str(tmp_path / "RUN"), *SMALL]
    assert main([*command, "--steps", "1", "--schedule", "cosine"]) == 0
    said()
    for ask in (["--steps", "2"], ["--epochs", "2"]):
        assert main([*TRAIN, "--out", str(tmp_path / "RUN"), "--resume", *ask]) == 2
        found = said()
        assert "schedule=cosine lowers the learning rate to its end at the last step" in found
        assert "schedule=constant or step may go on" in found


def test_epochs_that_are_given_hold_instead_of_the_steps_of_the_run(out: Path) -> None:
    assert main([*TRAIN, "--out", str(out), "--resume", "--epochs", "1", "--device", "cpu"]) == 0
    assert recipe_of(out)["train"]["steps"] is None  # type: ignore[index]
    assert checkpoint.find(out).name == "step_00000003"


def test_a_cosine_schedule_keeps_its_length(videos: Path, tmp_path: Path, said: Said) -> None:
    out = ("--out", str(tmp_path / "run"))
    assert main([*TRAIN, *out, "--data", str(videos), *SMALL, "--steps", "1", "--schedule", "cosine"]) == 0
    said()
    assert main([*TRAIN, *out, "--steps", "2", "--device", "cpu", "--resume"]) == 2
    assert "train.steps: 1 in the run, 2 here" in said()


def test_videos_that_are_gone_are_named(videos: Path, tmp_path: Path, said: Said) -> None:
    shutil.copytree(videos, tmp_path / "VIDEOS")
    run = ("--out", str(tmp_path / "RUN"))
    assert main([*TRAIN, *run, *SMALL, "--steps", "1"]) == 2
    assert "train: data: name the videos with --data; only with --resume are they the run's" in said()
    assert main([*TRAIN, *run, *SMALL, "--steps", "1", "--data", str(tmp_path / "VIDEOS")]) == 0
    (tmp_path / "VIDEOS").rename(tmp_path / "MOVED")
    said()
    again = [*TRAIN, *run, "--resume", "--steps", "2", "--device", "cpu"]
    assert main(again) == 2
    assert f"data: '{tmp_path}/VIDEOS', the run's videos, is not there any more; name them with --data" in said()
    assert main([*again, "--data", str(tmp_path / "MOVED")]) == 0
    assert main([*again, "--steps", "3"]) == 0  # where they are is recorded again
    (tmp_path / "MOVED" / "a" / "0_g0.avi").unlink()
    assert main([*again, "--steps", "4"]) == 2
    assert "10 videos, fingerprint" in (found := said())
    assert f"--data {tmp_path}/RUN/index.arrow lists the videos as they were" in found


def test_a_run_that_python_began_is_resumed_by_the_command(
    index: VideoIndex, recipe: object, tmp_path: Path, said: Said
) -> None:
    """Its record names neither a recipe nor where the videos are."""
    train(recipe, index, tmp_path, steps=1, device="cpu", quiet=True)  # type: ignore[arg-type]
    again = ["--out", str(tmp_path), "--resume", "--steps", "2", "--device", "cpu"]
    assert main(["train", "opn_tiny", *again]) == 2
    assert "recipe='opn_tiny': the run's task is vcop; name a recipe of this task" in said()
    assert main([*TRAIN, *again]) == 2
    assert "does not say where its videos are; name them with --data" in said()
    assert main([*TRAIN, *again, "--data", str(index.root)]) == 0
    (tmp_path / "run.json").write_text("damaged")  # the checkpoint says it too
    assert main([*TRAIN, *again, "--steps", "3"]) == 0


ENCODER = """
from torch import nn

open("imported", "a").close()

def net(channels=3):
    return nn.Sequential(nn.Conv3d(channels, 8, 3), nn.BatchNorm3d(8), nn.AdaptiveAvgPool3d(1), nn.Flatten())
"""


def test_code_of_a_run_is_imported_only_if_it_is_trusted_or_given(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    (tmp_path / "own.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--data", str(videos), "--out", "RUN", *SMALL, "--steps", "1", "--encoder", "own.py:net"]) == 0
    resume = [*TRAIN, "--out", "RUN", "--resume", "--device", "cpu", "--steps"]
    audit = ["audit", "vcop_r3d_tiny", "--run", "RUN", "--tuples", "50", "--device", "cpu"]
    for command, options in (
        (resume, ["--encoder", "own.py:net"]),
        (resume, ["--trust-code"]),
        (audit, ["--trust-code"]),
    ):
        last = [str(int(checkpoint.find(tmp_path / "RUN").name[5:]) + 1)] if command is resume else []
        for name in [one for one in sys.modules if one.startswith("vidssl_code_")]:
            monkeypatch.delitem(sys.modules, name)  # as in another process
        (tmp_path / "imported").unlink()
        said()
        assert main([*command, *last]) == 2
        assert "encoder='own.py:net'" in (found := said())
        assert "--trust-code" in found
        assert main([*command, *last, "--encoder", "other.py:net"]) == 2
        assert "encoder: 'own.py:net' in the run, 'other.py:net' here" in said()
        assert not (tmp_path / "imported").exists()
        assert main([*command, *last, *options]) == 0
        assert (tmp_path / "imported").exists()


def test_an_audit_takes_the_settings_and_videos_of_its_run(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "RUN"
    ema = ("--steps", "2", "--ema", "0.5")
    assert main([*TRAIN, "--data", str(videos), "--out", str(run), *SMALL, *ema]) == 0
    audit = ["audit", "vcop_r3d_tiny", "--run", str(run), "--tuples", "50", "--device", "cpu", "--workers", "2"]
    logits = {}
    for which in ("raw", "ema", "auto"):
        asked = [*audit, "--out", str(tmp_path / which), "--weights", which]
        assert main(asked) == 0
        found = json.loads((tmp_path / which / "audit.json").read_text())
        assert found["settings"]["pretext"]["interval"] == 2
        assert found["settings"]["train"]["workers"] == 2
        logits[which] = found["trained"]
    assert logits["auto"] == logits["ema"]
    capsys.readouterr()
    assert main([*audit, "--interval", "4"]) == 2
    said = capsys.readouterr().err
    assert f"audit: run='{run}': pretext.interval: 2 in the run, 4 here; leave it out, or leave run out" in said
    assert main(["audit", "vcop_r3d_tiny"]) == 2
    assert "audit: data: name the videos with --data; only with --run are they the run's" in capsys.readouterr().err


def test_a_damaged_record_is_one_message(out: Path, said: Said) -> None:
    record = json.loads((out / "run.json").read_text())
    for change in ({"train": None}, {"method": 3, "pretext": {}}):
        (out / "run.json").write_text(json.dumps(record | {"recipe": record["recipe"] | change}))
        assert main([*TRAIN, "--out", str(out), "--resume", "--device", "cpu"]) == 2
        assert said().count("error:") == 1
    with pytest.raises(VidsslError):
        checkpoint.find(out / "none")
