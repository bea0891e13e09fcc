"""What keeps a run from dying in silence: requests to stop, a loader that hangs, numbers that are not finite."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

import torch

from vidssl.paths import appended, shown
from vidssl.stages.index import VideoIndex
from vidssl.types import VidsslError

_NAMED = 4  # tuples in a message
HUNG = 3  # exit code of a run that waited too long


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for a stop after the current step; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Watchdog:
    """Ends the process, with exit code HUNG, where a wait takes longer than `seconds`; says what was waited for, and where every thread is.

    An exception would not do: threads that hang are joined at exit, which would hang too.
    """

    def __init__(self, seconds: float, waits_for: Callable[[], str]) -> None:
        self._seconds, self._waits_for = seconds, waits_for
        self._since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vidssl-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block is to take less than `seconds`."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def _watch(self) -> None:
        while not self._end.wait(min(1.0, self._seconds / 4)):
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                what = f"timeout={self._seconds:g}: the loader gave nothing for so many seconds; it waits for {shown(self._waits_for())}"
                print(f"error: train: {what}. Where each thread is:", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                print("--resume continues from the newest checkpoint; where there is none, from the beginning", file=sys.stderr, flush=True)
                os._exit(HUNG)


class Shown(NamedTuple):
    """What a step leaves behind until it is known to be fine. step: its number; all tensors on the device."""

    step: int
    loss: torch.Tensor  # float [B]
    grad_norm: torch.Tensor  # float []
    video: torch.Tensor  # int64 [B]
    frame: torch.Tensor  # int64 [B, K, T]

    def fine(self) -> torch.Tensor:
        """bool []: loss and gradient are finite."""
        return self.loss.isfinite().all() & self.grad_norm.isfinite()


def record(shown: Shown, index: VideoIndex, path: Path) -> str:
    """Appends what a step that was not finite had been shown to `path`, a line of JSON. Returns the same in short."""
    lost = (~shown.loss.isfinite()).nonzero().flatten().tolist()
    files = index.select(shown.video.cpu().numpy()).column("path").to_pylist()
    frames, losses = shown.frame.cpu(), shown.loss.tolist()
    tuples = [
        {"path": file, "frame": frame.tolist(), "loss": loss if loss == loss and abs(loss) != float("inf") else str(loss)}
        for file, frame, loss in zip(files, frames, losses, strict=True)
    ]
    line = {"step": shown.step, "what": "loss" if lost else "gradient", "grad_norm": str(float(shown.grad_norm)), "tuples": tuples}
    with appended(path) as file:
        file.write(json.dumps(line) + "\n")
    bad = lost or list(range(len(files)))  # a gradient is everybody's
    what = "; ".join(f"{files[i]} frames {int(frames[i].min())}..{int(frames[i].max())}" for i in bad[:_NAMED])
    what += f"; and {len(bad) - _NAMED} more tuples" if len(bad) > _NAMED else ""
    return f"{'loss' if lost else 'gradient'} is not finite at step {shown.step}, shown: {what}"


def check_finite(shown: list[Shown], index: VideoIndex, path: Path) -> None:
    """Stop at the first step whose loss or gradient is not finite, and name what was shown. Waits for the device."""
    fine = torch.stack([one.fine() for one in shown]).tolist() if shown else []
    if all(fine):
        return
    what = record(shown[fine.index(False)], index, path)
    raise VidsslError(
        f"train: {what}; all of it is in {path}; lower lr, or take amp=off or nonfinite=skip; the last checkpoint is from before"
    )
