"""The set-up that training and fine-tuning share: the folder, what a resumed run must share, the decoder."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.pretext import build_model
from vidssl.train import checkpoint, setup
from vidssl.train.compute import pick_amp
from vidssl.train.config import Recipe, flat
from vidssl.train.distributed import ProcessGroup
from vidssl.train.recorded import CHANGEABLE, CommandText, check_resumable
from vidssl.train.setup import Task, fit, fixed_settings, open_run
from vidssl.types import VidsslError

OTHER = CommandText("tune", "folder=", "move it away")


def task(recipe: Recipe, **settings: Any) -> Task:
    pretext = recipe.pretext
    build = partial(build_model, pretext, recipe.encoder)
    return Task(recipe=recipe, plan=pretext.plan, build=build, objectives=pretext.objectives, **settings)


def alone() -> ProcessGroup:
    return ProcessGroup(device=torch.device("cpu"))


def test_a_folder_in_use_is_refused_in_the_words_of_the_command(tmp_path: Path) -> None:
    assert open_run(tmp_path / "new", resume=False) is None
    (tmp_path / "new" / "run.json").write_text("{}")  # of a run that made no step
    assert open_run(tmp_path / "new", resume=False) is None
    for name in ("metrics.jsonl", "nonfinite.jsonl", "events.out.tfevents.1.host.2.0"):  # nor a checkpoint
        (tmp_path / "new" / name).touch()
    for name in ("loggers.json", "mlflow.db", "mlflow.db-journal"):
        (tmp_path / "new" / name).touch()
    (tmp_path / "new" / "projector_config.pbtxt").touch()
    (tmp_path / "new" / "00002" / "held_out").mkdir(parents=True)
    (tmp_path / "new" / "wandb" / "offline-run-1").mkdir(parents=True)
    (tmp_path / "new" / "checkpoints" / ".step_00000001.7").mkdir(parents=True)
    assert open_run(tmp_path / "new", resume=False) is None
    (tmp_path / "new" / "notes.txt").touch()
    with pytest.raises(
        VidsslError, match=r"not empty; 'notes.txt' is in it, and no whole checkpoint; take another out$"
    ):
        open_run(tmp_path / "new", resume=False)
    (tmp_path / "new" / "notes.txt").unlink()
    for name in (
        "2024",
        "20240101/frames",
        "checkpoints/step_00000001",
    ):  # folders of one's own, and a damaged checkpoint
        (tmp_path / "new" / name).mkdir(parents=True)
        with pytest.raises(VidsslError, match=r"not empty; '(2024|20240101|checkpoints)' is in it"):
            open_run(tmp_path / "new", resume=False)
        (tmp_path / "new" / name).rmdir()
    (tmp_path / "new" / "20240101").rmdir()
    saved(tmp_path / "new", {})
    with pytest.raises(
        VidsslError, match=r"^train: out=.*not empty; --resume continues the run in it, or take another out$"
    ):
        open_run(tmp_path / "new", resume=False)
    with pytest.raises(
        VidsslError, match=r"^tune: folder=.*not empty; --resume continues the run in it, or move it away$"
    ):
        open_run(tmp_path / "new", resume=False, command=OTHER)
    with pytest.raises(VidsslError, match=r"^tune: resume: folder=.*has no run in it"):
        open_run(tmp_path / "none", resume=True, command=OTHER)
    (tmp_path / "file").touch()
    with pytest.raises(VidsslError, match="name a folder that can be written"):
        open_run(tmp_path / "file", resume=False)


def test_a_run_that_torchrun_restarts_is_resumed(tmp_path: Path) -> None:
    for name in ("run.json", "metrics.jsonl"):
        (tmp_path / name).write_text("{}")
    assert open_run(tmp_path, resume=False, process_group=replace(alone(), restarts=1)) is None


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_all_settings_but_the_free_ones_are_fixed(schedule: Any, recipe: Recipe) -> None:
    recipe = replace(recipe, train=replace(recipe.train, schedule=schedule))
    fixed = fixed_settings(task(recipe, fixed={"tune": {"classes": ("a", "b")}}))
    assert fixed["tune.classes"] == ["a", "b"]
    assert fixed["train.lr"] == recipe.train.lr
    assert fixed["pretext.augment.crop"] == [16, 16]
    free = {name for name in CHANGEABLE if f"train.{name}" not in fixed}
    assert free == (set(CHANGEABLE) - {"epochs", "steps"} if schedule == "cosine" else set(CHANGEABLE))


def saved(out: Path, meta: dict[str, Any]) -> Path:
    return checkpoint.save(out, 1, encoder={}, head={}, state={}, meta=meta, keep=1)


def test_each_difference_is_named_with_its_fix(tmp_path: Path) -> None:
    meta = {"fixed": {"train.lr": 0.1, "train.seed": 1}, "data": "aa", "videos": 3, "amp": "off"}
    start = saved(tmp_path, meta)
    check_resumable(start, meta, tmp_path)
    with pytest.raises(
        VidsslError,
        match=r"restore them, or take another out: train.lr: 0.1 then, 0.2 now; train.new: None then, 5 now$",
    ):
        check_resumable(start, meta | {"fixed": {"train.lr": 0.2, "train.seed": 1, "train.new": 5}}, tmp_path)
    with pytest.raises(VidsslError, match=r"^tune: .*move it away: amp: 'off' then, 'bf16' now$"):
        check_resumable(start, meta | {"amp": "bf16"}, tmp_path, OTHER)
    other = meta | {"data": "bb", "videos": 4}
    with pytest.raises(
        VidsslError, match=r"another out: data: '3 videos, fingerprint aa' then, '4 videos, fingerprint bb' now"
    ):
        check_resumable(start, other, tmp_path)
    (tmp_path / "index.arrow").touch()
    with pytest.raises(VidsslError, match=r"--data \S+index.arrow lists the videos as they were"):
        check_resumable(start, other, tmp_path)


def test_a_run_from_before_a_setting_existed_is_resumed(recipe: Recipe, tmp_path: Path) -> None:
    """The setting then had its default; another value is a difference."""
    new = "pretext.augment.hue"
    meta: dict[str, Any] = {
        "fixed": flat(recipe.as_dict()),
        "recipe": recipe.as_dict(),
        "data": "aa",
        "videos": 3,
        "amp": "off",
    }
    old = json.loads(json.dumps(meta))
    del old["fixed"][new], old["recipe"]["pretext"]["augment"]["hue"]
    start = saved(tmp_path, old)
    check_resumable(start, meta, tmp_path)
    with pytest.raises(VidsslError, match=f"another out: {new}: 0.0 then, 0.25 now$"):
        check_resumable(start, meta | {"fixed": meta["fixed"] | {new: 0.25}}, tmp_path)


def test_a_task_brings_its_loader_its_decoder_stays_and_its_precision_is_compared(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "trains_in_bf16", lambda *_, **__: True)
    asked: list[dict[str, Any]] = []

    def loader(*positional: Any, **settings: Any) -> Loader:
        asked.append(settings)
        return Loader(*positional, **settings)

    def run(steps: int, **changed: Any) -> None:
        config = replace(recipe.train, steps=steps, decode="auto", **changed)
        one = task(replace(recipe, train=config), loader=loader, meta={"about": "a test"}, command=OTHER)
        fit(one, index, tmp_path, start=open_run(tmp_path, resume=steps > 1), process_group=alone(), quiet=True)

    run(1)
    assert json.loads((tmp_path / "run.json").read_text())["about"] == "a test"
    assert checkpoint.load_meta(checkpoint.find(tmp_path))["decode"] == "cpu"
    run(2, workers=2, timeout=9.0)
    decoders = [settings["decode"] for settings in asked]  # of training and held-out videos; the same again
    assert decoders == ["auto", "cpu", "cpu", "cpu"]
    assert [settings.get("train", True) for settings in asked] == [True, False, True, False]
    assert [settings["workers"] for settings in asked] == [1, 1, 2, 2]
    assert {settings["quarantine"] for settings in asked} == {tmp_path / "quarantine.jsonl"}
    assert not pick_amp(recipe.train.amp, alone().device, 1)
    with pytest.raises(
        VidsslError, match=r"^tune: resume: .*amp: 'off' then, 'bf16' now; train.amp: 'off' then, 'bf16' now"
    ):
        run(3, amp="bf16")
