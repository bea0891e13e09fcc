"""Steps whose loss or gradient is not finite: they are written to a file, with the tuples shown, and reported."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from vidssl.index.table import VideoIndex
from vidssl.paths import open_append
from vidssl.types import VidsslError

_NAMED = 4  # tuples that a message names


class Shown(NamedTuple):
    """What a step was shown, kept until its numbers are known to be finite. All tensors are on the device."""

    step: int  # its number, from 1
    loss: torch.Tensor  # float [B]
    grad_norm: torch.Tensor  # float []
    video: torch.Tensor  # int64 [B]
    frame: torch.Tensor  # int64 [B, K, T]

    def is_finite(self) -> torch.Tensor:
        """bool []: whether the losses and the gradient norm are finite."""
        return self.loss.isfinite().all() & self.grad_norm.isfinite()


def record(shown: Shown, index: VideoIndex, path: Path) -> str:
    """Appends a line of JSON about a step that was not finite: its number and every tuple shown.

    Args:
        shown: The step.
        index: The videos that its tuples come from.
        path: The .jsonl file.

    Returns:
        The same in one sentence, which names the first tuples.
    """
    lost = (~shown.loss.isfinite()).nonzero().flatten().tolist()
    files = index.select(shown.video.cpu().numpy()).column("path").to_pylist()
    frames, losses = shown.frame.cpu(), shown.loss.tolist()
    tuples = [
        {"path": file, "frame": frame.tolist(), "loss": loss if math.isfinite(loss) else str(loss)}
        for file, frame, loss in zip(files, frames, losses, strict=True)
    ]
    line = {
        "step": shown.step,
        "what": "loss" if lost else "gradient",
        "grad_norm": str(float(shown.grad_norm)),
        "tuples": tuples,
    }
    with open_append(path) as file:
        file.write(json.dumps(line) + "\n")
    suspects = lost or list(range(len(files)))  # all tuples contribute to the gradient
    what = "; ".join(f"{files[i]} frames {int(frames[i].min())}..{int(frames[i].max())}" for i in suspects[:_NAMED])
    what += f"; and {len(suspects) - _NAMED} more tuples" if len(suspects) > _NAMED else ""
    return f"{'loss' if lost else 'gradient'} is not finite at step {shown.step}, shown: {what}"


def check_finite(steps: Sequence[Shown], index: VideoIndex, path: Path, kept: Callable[[], str]) -> None:
    """Waits for the device and checks some steps.

    Args:
        steps: The steps since the last check.
        index: The videos that their tuples come from.
        path: The .jsonl file that gets a line about the first step that is not finite.
        kept: Says in a sentence what the run keeps.

    Raises:
        VidsslError: A step is not finite; the message names its tuples.
    """
    finite = torch.stack([step.is_finite() for step in steps]).tolist() if steps else []
    if all(finite):
        return
    what = record(steps[finite.index(False)], index, path)
    raise VidsslError(
        f"train: {what}; {path} lists them all. {kept()}; lower lr, or take amp=off or nonfinite=skip. If "
        "the first step is not finite at any lr, the encoder itself makes such numbers"
    )
