"""The log of a run, under one set of names: TensorBoard for people, metrics.jsonl for programs, and the terminal."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from vidssl.files import parse_json
from vidssl.paths import atomic_write, markdown_code, open_append, output_path, printable
from vidssl.plots.confusion import confusion_image
from vidssl.train.loggers import Loggers, Service
from vidssl.train.metrics import class_accuracy

# Name of each metric, and the text that the terminal prints for it. Of several tasks, "train/loss" is the weighted sum;
# loss and accuracy of each have the name of the task after them, such as "train/accuracy/vcop".
METRICS = {
    "train/loss": "loss {:.4f}",
    "train/accuracy": "accuracy {:.1%}",
    "train/learning_rate": "lr {:.2g}",
    "train/grad_norm": "gradient norm {:.3g}",
    "train/clips_per_second": "{:.1f} clips/s",
    "train/frames_per_second": "{:.0f} decoded frames/s",
    "train/data_wait": "waiting for data {:.1%}",
    "train/queue_depth": "queue depth {:.1f} batches",  # decoded batches when a step takes one
    "train/host_memory": "host memory {:.2f} GiB",  # resident memory of this process
    "train/gpu_memory": "GPU memory {:.2f} GiB",  # peak since the last line
    "train/rejected": "rejected tuples {:.1%}",  # tuples outside the task's limits; they are not in the loss
    "train/replaced_windows": "replaced windows {:.0f}",
    "train/skipped_steps": "skipped steps {:.0f}",  # steps whose loss or gradient is not finite
    "train/windows": "{:.0f} windows",  # of a data set since the start of the run; its name comes after, as of tasks
    "val/loss": "val loss {:.4f}",
    "val/accuracy": "val accuracy {:.1%}",
    "val/chance": "chance {:.1%}",  # accuracy of one answer to all held-out tuples; printed beside val/accuracy
    "val/tuples": "val tuples {:.0f}",
    "watch/rank": "RankMe {:.1f}",  # of the features of held-out clips; 1 is a collapse
    "watch/spread": "spread {:.3f}",  # of their directions; 0 is a collapse
    "watch/knn": "nearest neighbour {:.1%}",  # held-out videos whose nearest one has the same label
}
TIMED = (  # their values depend on the machine
    "train/clips_per_second",
    "train/frames_per_second",
    "train/data_wait",
    "train/queue_depth",
    "train/host_memory",
    "train/gpu_memory",
)
_WHEN_NOT_ZERO = ("train/replaced_windows", "train/rejected", "train/skipped_steps")
_FILES_ONLY = ("train/queue_depth", "train/host_memory", "train/gpu_memory", "train/frames_per_second")
PROJECTOR, POINTS = "projector_config.pbtxt", "held_out"  # of TensorBoard's projector: its list of points, their folder
MOST_CLASSES = 24  # with more classes, neither a confusion matrix nor the accuracy of each class is logged


def events_folder(run: Path) -> Path:
    """Returns the folder of a run's events for TensorBoard: the run's own, after which TensorBoard names the run.

    A run that an earlier version began keeps its events in RUN/tensorboard.
    """
    return output_path(run, "tensorboard") if os.path.lexists(run / "tensorboard") else run


def logdir(run: Path) -> Path:
    """Returns the folder to point TensorBoard at: the one that the run lies in, so that TensorBoard shows the run's
    name; the run itself if that is the current or the top folder, whose other content TensorBoard would search.
    """
    return run.parent if run.parent.name else run


class Log:
    """Writes OUT/metrics.jsonl and TensorBoard's events, and shows progress: a bar on a terminal, else plain lines.

    Args:
        out: The run's folder.
        step: The step at which the run starts. Lines of later steps, which will be made again, are removed.
        total: The step at which the run ends.
        classes: Names of the classes.
        chance: Accuracy of always predicting the most frequent class, by the metric beside which it is printed:
            "accuracy", or "accuracy/TASK" of several tasks.
        quiet: Print nothing.
        mute: Print and write nothing; for all processes except rank 0.
        services: Where else metrics and settings are reported.
    """

    def __init__(
        self,
        out: Path,
        *,
        step: int,
        total: int,
        classes: Sequence[str],
        chance: Mapping[str, float] | None = None,
        quiet: bool = False,
        mute: bool = False,
        services: tuple[Service, ...] = (),
    ) -> None:
        self._chance = chance or {}
        self._quiet, self._mute, self._total, self._classes = quiet or mute, mute, total, classes
        self._started = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=step,
            desc="train",
            unit="step",
            disable=self._quiet or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        if mute:
            return
        path = out / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        with atomic_write(path) as aside:
            aside.write_text("".join(line + "\n" for line in lines if _step_of(line) <= step))
        self._file = open_append(path)
        self._services = Loggers(services, out)
        self._excepthook, threading.excepthook = threading.excepthook, self._on_thread_error
        self._board = SummaryWriter(str(events_folder(out)), purge_step=step + 1)

    def write(self, step: int, epoch: int, values: Mapping[str, float], matrix: torch.Tensor | None = None) -> None:
        """Logs metrics under names of METRICS.

        Args:
            step: The step after which they were computed.
            epoch: The epoch.
            values: Name to value. A metric of one of several tasks has the name of the task after it: "val/loss/vcop".
            matrix: Confusion int64 [classes, classes]; rows are true classes, columns predicted ones.
        """
        if self._mute:
            return
        record: dict[str, Any] = {
            "step": step,
            "epoch": epoch,
            "seconds": round(time.monotonic() - self._started, 3),
            **values,
        }
        part = next(iter(values)).split("/")[0]  # "train", "val" or "watch"
        if matrix is not None and len(self._classes) <= MOST_CLASSES:
            record[f"{part}/confusion"] = matrix.tolist()
            for name, accuracy in zip(self._classes, class_accuracy(matrix), strict=True):
                if accuracy is not None:
                    self._board.add_scalar(f"{part}_class_accuracy/{_plain(name)}", accuracy, step)
            if part == "val":
                self._board.add_image(
                    "val/confusion", confusion_image(matrix.cpu().numpy(), self._classes), step, dataformats="HWC"
                )
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        self._file.write(json.dumps(finite, allow_nan=False) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._services.metrics(values, step)
        printed = {
            name: value
            for name, value in values.items()
            if name not in _FILES_ONLY
            and (name not in _WHEN_NOT_ZERO or value)
            and not name.startswith(("val/tuples/", "val/chance", "train/windows/"))
        }
        text = ", ".join(self._text(name, values) for name in printed)
        if self._bar.disable:
            self.say(f"step {step}/{self._total}: {text}")
        elif part == "train":
            self._bar.set_postfix_str(text)
        else:
            self.say(f"step {step}: {text}")

    def _text(self, name: str, values: Mapping[str, float]) -> str:
        """What the terminal shows of a metric."""
        part, metric, *task = name.split("/", 2)
        chance = self._chance.get("/".join([metric, *task]))
        if metric == "accuracy":
            chance = values.get("/".join([part, "chance", *task]), chance)
        beside = "" if chance is None else f" (chance {chance:.1%})"
        return " ".join([*task, METRICS[f"{part}/{metric}"].format(values[name]) + beside])

    def text(self, name: str, value: str) -> None:
        """Adds a text to TensorBoard."""
        if not self._mute:
            self._board.add_text(name, markdown_code(value))

    def picture(self, name: str, picture: npt.NDArray[np.uint8], step: int) -> None:
        """Adds a picture to TensorBoard."""
        if not self._mute:
            self._board.add_image(name, picture, step, dataformats="HWC")

    def embedding(
        self,
        features: torch.Tensor,
        about: Sequence[tuple[str, ...]],
        head: Sequence[str],
        thumbs: torch.Tensor,
        step: int,
    ) -> None:
        """Adds points to TensorBoard's projector.

        Args:
            features: float [N, D].
            about: Texts of each point, under the names `head`.
            head: Names of the texts.
            thumbs: Pictures of the points, float [N, 3, h, w] in 0..1.
            step: The step at which they were computed.
        """
        if not self._mute:
            board = Path(self._board.log_dir)
            shutil.rmtree(output_path(board, f"{step:05d}"), ignore_errors=True)  # of a killed run
            open_append(board / PROJECTOR).close()  # TensorBoard writes into it
            rows = [[_plain(cell) for cell in row] for row in about]
            self._board.add_embedding(features, rows, thumbs, step, POINTS, list(head))

    def settings(self, values: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Adds settings and final metrics to TensorBoard's table of runs."""
        if not self._mute:
            plain = {
                name: value if isinstance(value, (bool, int, float)) else _plain(str(value))
                for name, value in values.items()
            }
            self._services.settings(plain)
            for summary in hparams(plain, dict(metrics)):  # type: ignore[no-untyped-call]
                self._board._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        self._bar.update()

    def say(self, line: str) -> None:
        """Prints a line."""
        if not self._quiet:
            tqdm.write(printable(line, lines=True), file=sys.stdout)
            sys.stdout.flush()

    def _on_thread_error(self, error: threading.ExceptHookArgs) -> None:
        """Prints nothing if TensorBoard's thread cannot write: the next call of its writer raises the same error."""
        if not (isinstance(error.exc_value, OSError) and type(error.thread).__module__.startswith("tensorboard.")):
            self._excepthook(error)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._mute:
            return
        self._services.close(failed=kind is not None)
        try:
            for part in (self._board, self._file):
                with suppress(OSError) if kind is not None else nullcontext():  # the first error says more
                    part.close()
        finally:
            threading.excepthook = self._excepthook


def _plain(name: str) -> str:
    """A name for TensorBoard: one line without tabs, as its table of points has lines and columns, and without HTML."""
    return escape(printable(name), quote=False)


def _step_of(line: str) -> float:
    """Returns the step of a line of metrics.jsonl, or infinity if a crash has cut the line short."""
    try:
        return int(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
