"""A fine-tuning that is resumed takes settings and videos from its record, and refuses what contradicts them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vidssl import VideoIndex
from vidssl.cli import main
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.recorded import CHANGEABLE
from vidssl.train.train import train

Said = Callable[[], str]
SMALL = ("--batch-size", "2", "--holdout", "0", "--amp", "off", "--steps", "1", "--clips", "1")
# None of them is a default.
SETTINGS = (
    *("--batch-size", "2", "--lr", "0.02", "--optimizer", "adamw", "--no-decay-vectors", "--amp", "off"),
    *("--schedule", "step", "--milestones", "1", "--holdout", "0.2", "--seed", "3", "--workers", "1", "--flip", "0.5"),
    *("--freeze", "stem", "--crop", "16", "18", "--clips", "2", "--select", "best", "--val-every", "1"),
    *("--weights", "raw", "--groups", "g[01]"),
)


@pytest.fixture(scope="module")
def trained(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "RUN"))


@pytest.fixture
def labels(index: VideoIndex, tmp_path: Path) -> Path:
    """A list in which the classes are others than in the folders."""
    lines = [f"{path},{'xy'[row % 2]},g{row % 3}\n" for row, path in enumerate(index.column("path").to_pylist())]
    (tmp_path / "labels.csv").write_text("path,label,group\n" + "".join(lines))
    return tmp_path / "labels.csv"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().err


def command(run: Path, *options: str) -> list[str]:
    return ["evaluate", "finetune", str(run), "--device", "cpu", *options]


def settings(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text())["finetune"])


def test_what_was_given_once_holds_to_the_end(
    run: Path, index: VideoIndex, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a step and resumed without a setting, it ends with the bits of one that was not stopped."""
    monkeypatch.chdir(tmp_path)
    given = ("--train", str(index.root), "--labels", labels.name)  # from this folder alone
    folder = run / "finetune" / "checkpoint"
    assert main(command(run, *given, *SETTINGS, "--steps", "3")) == 0
    whole = {part: checkpoint.load_weights(checkpoint.find(folder), part) for part in ("encoder", "head")}
    result = json.loads((run / "finetune.json").read_text())
    shutil.rmtree(folder)
    assert main(command(run, *given, *SETTINGS, "--steps", "1")) == 0
    before = settings(folder)
    monkeypatch.chdir("/")
    assert main(command(run, "--resume", "--steps", "3", "--log-every=2")) == 0
    assert settings(folder) == before | {"train": {**before["train"], "steps": 3, "log_every": 2}}
    for part, weights in whole.items():
        resumed = checkpoint.load_weights(checkpoint.find(folder), part)
        assert all(torch.equal(weight, resumed[name]) for name, weight in weights.items()), part
    again = json.loads((run / "finetune.json").read_text())
    assert again["numbers"] == result["numbers"]
    assert (again["settings"]["clips"], again["settings"]["select"]) == (2, "best")
    assert main(command(run, "--resume")) == 0  # it has ended: it is tested again
    assert json.loads((run / "finetune.json").read_text())["numbers"] == result["numbers"]


def test_what_is_given_again_may_be_the_same_and_not_another(
    run: Path, index: VideoIndex, labels: Path, said: Said
) -> None:
    data = ("--train", str(index.root), "--labels", str(labels))
    assert main(command(run, *data, *SETTINGS, "--steps", "1")) == 0
    assert main(command(run, *data, *SETTINGS, "--resume", "--steps", "2", "--clips", "1", "--select", "last")) == 0
    said()
    wrong = ("--lr", "0.001", "--decay-vectors", "--freeze", "stem", "stages.0", "--crop", "16", "16", "--steps", "3")
    assert main(command(run, "--resume", *wrong)) == 2
    found = said()
    for text in (
        f"finetune: resume: '{run / 'finetune' / 'checkpoint'}': ",
        "train.lr: 0.02 in the run, 0.001 here",
        "train.decay_vectors: False in the run, True here",
        "freeze: ['stem'] in the run, ['stem', 'stages.0'] here",
        "crop: [16, 18] in the run, [16, 16] here",
        "leave them out, or move that folder away (only ",
        ", ".join((*CHANGEABLE, "select", "clips", "crops")),
    ):
        assert text in found
    assert "train.steps" not in found
    assert main(command(run, "--resume", "--seed", "632")) == 2  # the default: it is given all the same
    assert "train.seed: 3 in the run, 632 here; leave it out, or move that folder away" in said()
    assert main(command(run, "--resume", "--groups", "g2")) == 2
    assert "groups: 'g[01]' in the run, 'g2' here, which may hold out other videos; leave it out, or" in said()


def test_a_cosine_schedule_keeps_its_length(run: Path, index: VideoIndex, said: Said) -> None:
    short = ("--batch-size", "2", "--holdout", "0", "--amp", "off", "--schedule", "cosine", "--steps", "1")
    assert main(command(run, "--train", str(index.root), *short)) == 0
    said()
    assert main(command(run, "--resume", "--steps", "2")) == 2
    assert "train.steps: 1 in the run, 2 here. The run's schedule=cosine lowers" in said()


def test_videos_that_are_gone_or_were_not_named_are_asked_for(
    run: Path, index: VideoIndex, tmp_path: Path, said: Said
) -> None:
    shutil.copytree(index.root, tmp_path / "VIDEOS")
    assert main(command(run, *SMALL)) == 2
    assert "evaluate: train: name the training videos with --train; only a fine-tuning that is resumed" in said()
    assert main(command(run, *SMALL, "--train", str(tmp_path / "VIDEOS"))) == 0
    (tmp_path / "VIDEOS").rename(tmp_path / "MOVED")
    assert main(command(run, "--resume")) == 2
    assert f"train: '{tmp_path}/VIDEOS' is not there any more; name it with --train" in said()
    assert main(command(run, "--resume", "--train", str(tmp_path / "MOVED"))) == 0
    assert main(command(run, "--resume")) == 0  # where they are is recorded again


def test_init_and_dataset_say_which_is_resumed(run: Path, index: VideoIndex, said: Said) -> None:
    assert main(command(run, "--resume")) == 2
    assert f"no fine-tuning has begun in '{run}/finetune/checkpoint'; leave --resume out" in said()
    assert main(command(run, "--train", str(index.root), *SMALL, "--init", "scratch")) == 0
    said()
    assert main(command(run, "--resume")) == 2
    assert "those that have are scratch: --init and --dataset say which one is meant, or leave --resume" in said()
    assert main(command(run, "--resume", "--init", "scratch", "--steps", "2")) == 0
    assert checkpoint.find(run / "finetune" / "scratch").name == "step_00000002"


def test_code_that_a_record_names_is_imported_only_if_it_is_trusted(
    run: Path, index: VideoIndex, tmp_path: Path, said: Said
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from vidssl.models import r3d_tiny\nopen(__file__ + '.imported', 'a').close()\n"
        "def net(channels=3):\n    return r3d_tiny(channels=channels)\n"
    )
    given = ("--init", "scratch", "--encoder", f"{code}:net")
    assert main(command(run, "--train", str(index.root), *SMALL, "--init", "scratch")) == 0
    folder = run / "finetune" / "scratch"
    for path in (folder / "run.json", checkpoint.find(folder) / "meta.json"):
        meta = json.loads(path.read_text())
        meta["finetune"]["encoder"] = given[3]
        path.write_text(json.dumps(meta))
    said()
    assert main(command(run, "--resume", "--init", "scratch")) == 2
    assert "this run's encoder is built by" in said()
    assert not Path(f"{code}.imported").exists()


def test_a_record_of_an_older_version_takes_what_is_given(
    run: Path, index: VideoIndex, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    data = ("--train", str(index.root))
    assert main(command(run, *data, *SMALL, "--lr", "0.02")) == 0
    folder = run / "finetune" / "checkpoint"
    for path in (folder / "run.json", checkpoint.find(folder) / "meta.json"):
        meta = json.loads(path.read_text())
        del meta["finetune"], meta["finetune_videos"]
        path.write_text(json.dumps(meta))
    said()
    assert main(command(run, "--resume", "--steps", "2")) == 2
    assert "evaluate: train: name the training videos with --train" in said()
    assert main(command(run, "--resume", *data, "--steps", "2")) == 2
    assert "was begun by a version that did not record its settings; they are taken as given here" in caplog.text
    assert "train.lr: 0.02 then, 0.001 now" in said()
    assert main(command(run, "--resume", *data, *SMALL, "--lr", "0.02")) == 0
    assert main(command(run, "--resume")) == 0  # it has recorded them


@pytest.mark.parametrize(
    ("key", "value"),
    [("train", 5), ("train", {"no_such": 1}), ("no_such", 1), ("clips", "two")],
)
def test_a_record_that_cannot_be_read_is_named(
    run: Path, index: VideoIndex, key: str, value: object, said: Said
) -> None:
    assert main(command(run, "--train", str(index.root), *SMALL)) == 0
    path = run / "finetune" / "checkpoint" / "run.json"
    meta = json.loads(path.read_text())
    meta["finetune"][key] = value
    path.write_text(json.dumps(meta))
    said()
    assert main(command(run, "--resume")) == 2
    assert "Traceback" not in (found := said())
    assert f"finetune: resume: '{path.parent}'" in found
