"""Services to which a run also reports, beside TensorBoard and metrics.jsonl: Weights & Biases, and MLflow.

Both are extras, imported only where they are named, and read their own settings from the environment (WANDB_MODE,
WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and so on). Where these say nothing, all files lie in the
run's folder. A service that fails while a run trains is warned about, and does not stop it: metrics.jsonl has all.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, get_args
from uuid import uuid4

from vidssl.files import parse_json
from vidssl.paths import atomic_write, output_path
from vidssl.types import VidsslError

log = logging.getLogger(__name__)
Service = Literal["wandb", "mlflow"]
IDS = "loggers.json"  # in the run's folder: the services' ids of the run
FILES = rf"{re.escape(IDS)}|mlflow\.db(-journal|-wal|-shm)?"  # that the services leave in the run's folder
FOLDER = "wandb"  # and where Weights & Biases keeps its own
PROJECT = "vidssl"  # where the environment names none
_INSTALL = {name: f"pip install 'vidssl[{name}]'" for name in get_args(Service)}


class Logger(Protocol):
    """A service that is told of a run, by the id that it gave the run. Each call may fail as the service fails."""

    id: str

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Reports metrics, by their names in metrics.jsonl."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """Reports the settings of the run."""

    def close(self, *, failed: bool) -> None:
        """Ends the report. failed: the run was stopped, or ended in an error."""


class Loggers:
    """All services that a run names, as one that does not fail.

    Args:
        names: The services.
        out: The run's folder. Its file IDS keeps the services' ids of this run, so that a resumed run goes on
            in the same place.

    Raises:
        VidsslError: As `need_services`, or a service does not answer.
    """

    def __init__(self, names: tuple[Service, ...], out: Path) -> None:
        need_services(names)
        self._warned: set[str] = set()
        ids = _read_ids(out)
        self._open = {name: _OPEN[name](out, ids.get(name)) for name in dict.fromkeys(names)}
        if self._open:
            with atomic_write(output_path(out, IDS)) as aside:
                aside.write_text(json.dumps(ids | {name: one.id for name, one in self._open.items()}))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._tell(lambda one: one.metrics(values, step))

    def settings(self, values: Mapping[str, Any]) -> None:
        self._tell(lambda one: one.settings(values))

    def close(self, *, failed: bool) -> None:
        self._tell(lambda one: one.close(failed=failed))

    def _tell(self, what: Callable[[Logger], None]) -> None:
        for name, one in self._open.items():
            try:
                what(one)
            except Exception as error:  # of the service, the network or its disk
                if name not in self._warned:
                    log.warning("log=%s: %s; metrics.jsonl and tensorboard have what it lacks", name, error)
                self._warned.add(name)


def _read_ids(out: Path) -> dict[str, str]:
    path = out / IDS
    return {str(name): str(value) for name, value in parse_json(path.read_text()).items()} if path.is_file() else {}


def need_services(names: tuple[Service, ...]) -> None:
    """Raises VidsslError if a service is unknown, or its package cannot be imported."""
    for name in names:
        if name not in _OPEN:
            raise VidsslError(f"log={name!r}: take one of {', '.join(_OPEN)}")
        _package(name)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise VidsslError(f"log={name!r}: {error}; run: {_INSTALL[name]}") from error


class Wandb:
    """A run of Weights & Biases; offline where WANDB_MODE says so, with its files in OUT/wandb."""

    def __init__(self, out: Path, known: str | None) -> None:
        wandb = _package("wandb")
        self.id = known or uuid4().hex[:12]
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or PROJECT,
                name=out.resolve().name,
                id=self.id,
                resume="allow",
                dir=str(out),
            )
        except Exception as error:  # no key, no network
            raise VidsslError(
                f'log="wandb": {error}; log in with `wandb login`, or set WANDB_MODE=offline and send it later with '
                "`wandb sync`"
            ) from error
        # A resumed run makes some steps again, which the service refuses on its own axis.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def settings(self, values: Mapping[str, Any]) -> None:
        self._run.config.update(dict(values), allow_val_change=True)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class Mlflow:
    """A run of MLflow; without MLFLOW_TRACKING_URI its database is OUT/mlflow.db."""

    def __init__(self, out: Path, known: str | None) -> None:
        mlflow = _package("mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{output_path(out.resolve(), 'mlflow.db')}"
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            if known is None:
                named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
                found = self._client.get_experiment_by_name(named)
                experiment = found.experiment_id if found else self._client.create_experiment(named)
                known = self._client.create_run(experiment, run_name=out.resolve().name).info.run_id
            else:
                self._client.update_run(known, status="RUNNING")
        except Exception as error:  # no server, no such database, no such run
            raise VidsslError(
                f'log="mlflow": MLFLOW_TRACKING_URI={uri}: {error}; name a server or a database that can be reached'
            ) from error
        self.id = known

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if math.isfinite(value):  # databases have no NaN
                self._client.log_metric(self.id, name, value, step=step)

    def settings(self, values: Mapping[str, Any]) -> None:
        told = self._client.get_run(self.id).data.params
        for name, value in values.items():
            if name not in told:  # a parameter cannot be changed; a resumed run has told them
                self._client.log_param(self.id, name, value)

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self.id, status="FAILED" if failed else "FINISHED")


_OPEN: dict[str, Callable[[Path, str | None], Logger]] = {"wandb": Wandb, "mlflow": Mlflow}
