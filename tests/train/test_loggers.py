"""Reports to MLflow (a database in a file) and to Weights & Biases (offline), by the packages themselves."""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vidssl import VideoIndex, VidsslError
from vidssl.train.config import Recipe
from vidssl.train.loggers import Loggers, need_services
from vidssl.train.train import train


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
