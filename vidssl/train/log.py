"""The log of a run: TensorBoard for people, metrics.jsonl for programs, the terminal for now. One set of names for all three."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

# name -> how the terminal shows it
METRICS = {
    "train/loss": "loss {:.4f}",
    "train/accuracy": "accuracy {:.1%}",
    "train/learning_rate": "lr {:.2g}",
    "train/grad_norm": "grad norm {:.3g}",
    "train/clips_per_second": "{:.1f} clips/s",
    "train/data_wait": "waiting for data {:.0%}",
    "train/rejected": "rejected {:.1%}",  # tuples for which no try met the task's limits; not in the loss
    "train/bad_windows": "bad windows {:.0f}",
    "val/loss": "val loss {:.4f}",
    "val/accuracy": "val accuracy {:.1%}",
}

_WHEN_NOT_ZERO = ("train/bad_windows", "train/rejected")


class Log:
    """Writes OUT/metrics.jsonl and OUT/tensorboard, and shows progress: a bar on a terminal, plain lines elsewhere.

    step: the last one that is kept of what is already there; later lines are of steps that will be done again.
    """

    def __init__(self, out: Path, *, step: int, total: int, quiet: bool = False) -> None:
        self._quiet, self._total = quiet, total
        self._started = time.monotonic()
        path = out / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a", buffering=1)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(total=total, initial=step, desc="train", unit="step", disable=quiet or not sys.stderr.isatty(), dynamic_ncols=True)

    def write(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Log metrics under names of METRICS."""
        record: dict[str, Any] = {"step": step, "epoch": epoch, "seconds": round(time.monotonic() - self._started, 3), **values}
        self._file.write(json.dumps(record) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        text = ", ".join(METRICS[name].format(value) for name, value in values.items() if name not in _WHEN_NOT_ZERO or value)
        if self._bar.disable:
            self.say(f"step {step}/{self._total}: {text}")
        elif "train/loss" in values:
            self._bar.set_postfix_str(text)
        else:
            self.say(f"step {step}: {text}")

    def text(self, name: str, value: str) -> None:
        """A text that TensorBoard shows."""
        self._board.add_text(name, value)

    def advance(self) -> None:
        self._bar.update()

    def say(self, line: str) -> None:
        if not self._quiet:
            tqdm.write(line, file=sys.stdout)
            sys.stdout.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
        self._board.close()
        self._file.close()


def _step_of(line: str) -> float:
    """Step of a line of metrics.jsonl; infinite for a line that a crash cut short."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
