"""Reports to MLflow (a database in a file) and to Weights & Biases (offline), by the packages themselves."""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidssl import VideoIndex, VidsslError
from vidssl.train.config import Recipe
from vidssl.train.loggers import Loggers, need_services
from vidssl.train.train import train
from vidssl.train.trainer import Trainer


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def test_a_resumed_run_goes_on_in_the_same_run_of_mlflow(recipe: Recipe, index: VideoIndex, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    out = tmp_path / "named"
    told = replace(recipe, train=replace(recipe.train, log=("mlflow",), log_every=1, steps=2))
    train(told, index, out, device="cpu", quiet=True)
    train(told, index, out, device="cpu", quiet=True, resume=True, steps=4)

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("vidssl").experiment_id])
    assert run.info.run_name == "named"
    assert run.info.status == "FINISHED"
    assert run.data.params["train.batch_size"] == str(told.train.batch_size)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    wanted = [(line["step"], line["train/loss"]) for line in lines if "train/loss" in line]
    assert len(wanted) == 4
    assert [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "train/loss")] == wanted


def test_a_resumed_run_goes_on_in_the_same_run_of_wandb(recipe: Recipe, index: VideoIndex, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    out = tmp_path / "named"
    told = replace(recipe, train=replace(recipe.train, log=("wandb",), log_every=1, steps=1))
    train(told, index, out, device="cpu", quiet=True)
    train(told, index, out, device="cpu", quiet=True, resume=True, steps=2)

    name = json.loads((out / "loggers.json").read_text())["wandb"]
    written = sorted(out.glob("wandb/offline-run-*/*.wandb"))
    assert [path.name for path in written] == [f"run-{name}.wandb"] * 2
    assert all(b"train/loss" in path.read_bytes() for path in written)


@pytest.mark.parametrize("service", ["mlflow", "wandb"])
def test_a_run_that_ended_before_its_first_checkpoint_does_not_block_its_folder(
    service: Any, recipe: Recipe, index: VideoIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that begins in its place is another run of the service."""
    pytest.importorskip(service)
    out, told = tmp_path / "named", replace(recipe, train=replace(recipe.train, log=(service,), log_every=1, steps=2))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", lambda self: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            train(told, index, out, device="cpu", quiet=True)
    first = json.loads((out / "loggers.json").read_text())[service]
    train(told, index, out, device="cpu", quiet=True)
    second = json.loads((out / "loggers.json").read_text())[service]
    assert second != first
    if service == "wandb":
        written = [path.name for path in sorted(out.glob("wandb/offline-run-*/*.wandb"))]
        assert sorted(written) == sorted([f"run-{first}.wandb", f"run-{second}.wandb"])
        return
    client = pytest.importorskip("mlflow").MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    assert [client.get_run(run).info.status for run in (first, second)] == ["FAILED", "FINISHED"]
    assert [one.step for one in client.get_metric_history(second, "train/loss")] == [1, 2]


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "vidssl.train.loggers"]


def test_a_service_that_fails_does_not_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    loggers = Loggers(("mlflow",), tmp_path)
    loggers.metrics({"train/loss": 1.0, "train/grad_norm": math.nan}, 1)
    assert not ours(caplog)
    for path in tmp_path.glob("mlflow.db*"):
        path.write_bytes(b"not a database")
    with caplog.at_level(logging.WARNING):
        loggers.metrics({"train/loss": 1.0}, 2)
        loggers.metrics({"train/loss": 1.0}, 3)
        loggers.close(failed=False)
    (message,) = ours(caplog)
    assert message.startswith("log=mlflow: ")
    assert message.endswith("metrics.jsonl and tensorboard have what it lacks")


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-scheme://host")
    with pytest.raises(VidsslError, match=r'log="mlflow": MLFLOW_TRACKING_URI=no-such-scheme://host: .*name a server'):
        Loggers(("mlflow",), tmp_path)


def test_what_cannot_be_reported_to_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="log='comet': take one of wandb, mlflow"):
        need_services(("comet",))  # type: ignore[arg-type]
    with pytest.raises(VidsslError, match="log='comet': take one of wandb, mlflow"):
        Loggers(("comet",), tmp_path)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(VidsslError, match=r"log='wandb': .*; run: pip install 'vidssl\[wandb\]'"):
        need_services(("wandb",))
