"""One run in motion: the step, what is logged of it, and when it validates, saves and stops."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from vidssl.loader import Loader
from vidssl.pretext import PretextModel
from vidssl.stages.index import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import TrainConfig
from vidssl.train.log import Log
from vidssl.types import Batch, VidsslError


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where a run ended. metrics: the last value of each name of vidssl.train.log.METRICS."""

    step: int
    checkpoint: Path
    metrics: Mapping[str, float]


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, has written a checkpoint, and says so."""


class _Shown(NamedTuple):
    """What one step leaves on the device until the log reads it."""

    loss: torch.Tensor  # float [B]
    correct: torch.Tensor  # bool [B]
    kept: torch.Tensor  # bool [B]: within the task's limits, and so part of the loss
    grad_norm: torch.Tensor  # float []
    video: torch.Tensor  # int64 [B]
    frame: torch.Tensor  # int64 [B, K, T]


class Run:
    """One run: model, optimiser, loader, and the step they stand at."""

    def __init__(
        self, model: PretextModel, loader: Loader, val_loader: Loader | None, index: VideoIndex, config: TrainConfig, out: Path,
        device: torch.device, meta: dict[str, Any], total: int,
    ) -> None:  # fmt: skip
        self.model, self.loader, self.val_loader, self.index = model, loader, val_loader, index
        _channels_last(model.encoder)
        self.config, self.out, self.device, self.meta, self.total = config, out, device, meta, total
        self.optimizer = make_optimizer(model, config)
        self.step = 0
        self.metrics: dict[str, float] = {}

    def learning_rate(self) -> float:
        """Of the step to come: a function of its number alone, so that nothing has to be saved."""
        if self.config.schedule == "cosine":
            return self.config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.total)))
        return self.config.lr * 0.1 ** sum(self.step >= milestone for milestone in self.config.milestones)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.meta["amp"] == "bf16")

    def fit(self, log: Log) -> TrainResult:
        """Train up to `total` steps, logging, validating and saving on the way."""
        config = self.config
        shown: list[_Shown] = []
        waited, since = 0.0, time.perf_counter()
        saved: Path | None = None
        with _stop_requests() as stop:
            batches = self._batches()
            while self.step < self.total:
                asked = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - asked
                shown.append(self._train_step(batch))
                self.step += 1
                log.advance()
                stopping = stop.is_set() and self.step < self.total
                last = self.step == self.total or stopping
                saves, validates = last or self.step % config.save_every == 0, self.step == self.total or self.step % config.val_every == 0
                if saves or validates or self.step % config.log_every == 0:
                    self._report(log, shown, waited, time.perf_counter() - since)
                    if validates:
                        self._validate(log)
                    saved = self.save() if saves else saved
                    shown, waited, since = [], 0.0, time.perf_counter()
                if stopping:
                    raise Stopped(
                        f"stopped at step {self.step} of {self.total}; checkpoint: {saved}; the same command with --resume continues"
                    )
        if saved is None:
            saved = checkpoint.find(self.out)
            log.say(f"nothing to do: {saved} stands at step {self.step}, the run ends at {self.total}; take more steps to train on")
        else:
            log.say(f"done: step {self.step}, checkpoint {saved}")
        return TrainResult(step=self.step, checkpoint=saved, metrics=dict(self.metrics))

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.loader

    def _train_step(self, batch: Batch) -> _Shown:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        kept = batch.status.to(self.device, non_blocking=True) == 0  # [B]; the others break the task's own rules
        share = kept / kept.sum().clamp(min=1)  # [B]
        clips = batch.clips.to(self.device, non_blocking=True)  # [B, K, C, T, H, W]
        label = batch.label.to(self.device, non_blocking=True)
        losses, right = [], []
        for part in zip(*(whole.chunk(self.config.accumulate) for whole in (clips, label, share)), strict=True):
            with self.autocast():
                logits = self.model(part[0])
            loss = functional.cross_entropy(logits.float(), part[1], reduction="none")
            (loss * part[2]).sum().backward()
            losses.append(loss.detach())
            right.append(logits.detach().argmax(1) == part[1])
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        self.optimizer.step()
        return _Shown(torch.cat(losses), torch.cat(right), kept, norm, batch.video, batch.frame)

    def _report(self, log: Log, shown: list[_Shown], waited: float, seconds: float) -> None:
        """Read and log the steps since the last report: the only place where the host waits for the device."""
        _check_finite(shown, self.index, self.step)
        clips = sum(one.frame.shape[0] * one.frame.shape[1] for one in shown)
        kept = torch.cat([one.kept for one in shown])
        values = {
            "train/loss": float(torch.cat([one.loss for one in shown])[kept].mean()),
            "train/accuracy": float(torch.cat([one.correct for one in shown])[kept].float().mean()),
            "train/rejected": 1 - float(kept.float().mean()),
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/grad_norm": float(torch.stack([one.grad_norm for one in shown]).mean()),
            "train/clips_per_second": clips / seconds,
            "train/data_wait": waited / seconds,
            "train/bad_windows": float(self.loader.stats.get("bad", 0)),
        }
        self.metrics |= values
        log.write(self.step, self.loader.epoch, values)

    @torch.no_grad()
    def _validate(self, log: Log) -> None:
        if self.val_loader is None:
            return
        self.model.eval()
        loss, correct, count = torch.zeros(()), torch.zeros(()), 0
        for batch in self.val_loader:
            kept = batch.status.to(self.device) == 0
            label = batch.label.to(self.device)[kept]
            with self.autocast():
                logits = self.model(batch.clips.to(self.device))[kept]
            loss += functional.cross_entropy(logits.float(), label, reduction="sum").cpu()
            correct += (logits.argmax(1) == label).sum().cpu()
            count += len(label)
        self.model.train()
        if count:
            values = {"val/loss": float(loss) / count, "val/accuracy": float(correct) / count}
            self.metrics |= values
            log.write(self.step, self.loader.epoch, values)

    def save(self) -> Path:
        """Write a checkpoint of this moment."""
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "loader": self.loader.state_dict(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return checkpoint.save(
            self.out, self.step, encoder=self.model.encoder.state_dict(), head=self.model.head.state_dict(), state=state,
            meta=self.meta | {"step": self.step, "metrics": self.metrics}, keep=self.config.keep,
        )  # fmt: skip

    def load(self, path: Path) -> None:
        """Continue from a checkpoint: weights, optimiser, random numbers, and the loader's position."""
        self.model.encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
        self.model.head.load_state_dict(checkpoint.load_weights(path, "head"))
        state, meta = checkpoint.load_state(path), checkpoint.load_meta(path)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if "cuda_rng" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self.loader.load_state_dict(state["loader"])
        self.step, self.metrics = meta["step"], meta["metrics"]


def _channels_last(encoder: nn.Module) -> None:
    """Convolutions in the memory order of the loader's clips: 1.2x on a CPU, tensor cores on a GPU."""
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            order = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=order)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.SGD:
    """SGD over the model's parameters. factor: of a group's learning rate."""
    if not config.caffe_bias:
        groups = [{"params": list(model.parameters()), "factor": 1.0}]
    else:
        named = list(model.named_parameters())
        biases = [parameter for name, parameter in named if name.endswith("bias")]
        others = [parameter for name, parameter in named if not name.endswith("bias")]
        groups = [{"params": others, "factor": 1.0}, {"params": biases, "factor": 2.0, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def _check_finite(shown: list[_Shown], index: VideoIndex, step: int) -> None:
    """Stop at the first step whose loss or gradient is not finite, and name what was shown."""
    fine = torch.stack([one.loss.isfinite().all() & one.grad_norm.isfinite() for one in shown]).tolist()
    if all(fine):
        return
    at = fine.index(False)
    one = shown[at]
    lost = (~one.loss.isfinite()).nonzero().flatten().tolist()
    bad = lost or range(len(one.loss))  # a gradient is everybody's
    paths = index.select(one.video.cpu().numpy()).column("path").to_pylist()
    what = "; ".join(f"{paths[i]} frames {int(one.frame[i].min())}..{int(one.frame[i].max())}" for i in bad)
    raise VidsslError(
        f"train: {'loss' if lost else 'gradient'} is not finite at step {step - len(shown) + at + 1}, shown: {what}; "
        "lower lr or take amp=off; the last checkpoint is from before"
    )


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
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
