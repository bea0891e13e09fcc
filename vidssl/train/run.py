"""One run in motion: what is logged of its steps, and when it validates, saves and stops."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from vidssl.loader import Loader
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import Augment
from vidssl.train import checkpoint, pictures
from vidssl.train.guard import Shown, Watchdog, check_finite, record, stop_requests
from vidssl.train.log import Log
from vidssl.train.step import Stepped, Stepper
from vidssl.train.tally import Tally
from vidssl.types import Batch, VidsslError

_PROJECTED = 500  # held-out clips that TensorBoard's projector shows
_SEEN = 4  # tuples of a picture
_IN_A_ROW = 20  # steps that may be left out as not finite one after the other


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where a run ended. metrics: the last value of each name of vidssl.train.log.METRICS."""

    step: int
    checkpoint: Path
    metrics: Mapping[str, float]


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, has written a checkpoint, and says so."""


@dataclass(kw_only=True)
class _Clock:
    """What is counted since the last line of the log; it is of this process, and not saved."""

    began: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    ready: int = 0
    clips: int = 0
    steps: int = 0
    frames: int = 0  # the loader's count then


class Run:
    """One run: model, optimiser, loaders, and the step they stand at. names: of the classes; augment: how clips were coloured."""

    def __init__(
        self, stepper: Stepper, loader: Loader, val_loader: Loader | None, index: VideoIndex, held: VideoIndex, out: Path,
        meta: dict[str, Any], *, names: Sequence[str], augment: Augment,
    ) -> None:  # fmt: skip
        self.stepper, self.loader, self.val_loader, self.index, self.held = stepper, loader, val_loader, index, held
        self.model, self.ranks, self.config, self.total = stepper.model, stepper.ranks, stepper.config, stepper.total
        self.out, self.meta, self.names, self.augment = out, meta, names, augment
        self.tally = Tally(len(names), self.ranks.device)
        self.step = self.skipped = self._in_a_row = 0
        self._bad = 0.0  # windows, before a resume
        self.metrics: dict[str, float] = {}
        self.best: dict[str, float] | None = None  # {"step": ..., "val/loss": ...}

    def fit(self, log: Log) -> TrainResult:
        """Train up to `total` steps, logging, validating and saving on the way."""
        config, saved = self.config, None
        recent: list[Shown] = []
        clock = _Clock(frames=self.loader.stats["frames"])
        with stop_requests() as stop, Watchdog(config.timeout, self.loader.waits_for) as dog:
            batches = self._batches()
            while self.step < self.total:
                clock.ready += self.loader.ready
                asked = time.perf_counter()
                with dog.waiting():
                    batch = next(batches)
                clock.waited += time.perf_counter() - asked
                stepped = self._train_step(batch, recent)
                clock.clips += batch.frame.shape[0] * batch.frame.shape[1]
                clock.steps += 1
                log.advance()
                stopping = self.ranks.any(stop.is_set()) and self.step < self.total
                end = self.step == self.total
                saves, validates = end or self.step % config.save_every == 0, end or self.step % config.val_every == 0
                if saves or validates or self.step % config.log_every == 0:
                    check_finite(recent, self.index, self.out / "nonfinite.jsonl")
                    self._report(log, clock)
                    recent.clear()
                    clock = _Clock(frames=self.loader.stats["frames"])
                if stepped is not None and (end or self.step % config.show_every == 0):
                    self._show(log, batch, stepped)
                if validates and self._validate(log, project=end):
                    saves = True  # the best so far
                if saves or stopping:
                    check_finite(recent, self.index, self.out / "nonfinite.jsonl")
                    saved = self.save()
                if stopping:
                    raise Stopped(
                        f"stopped at step {self.step} of {self.total}; checkpoint: {saved}; the same command with --resume continues"
                    )
        if saved is None:
            saved = checkpoint.find(self.out)
            more = "a cosine schedule ends there" if config.schedule == "cosine" else "take more steps to train on"
            log.say(f"nothing to do: {saved} stands at step {self.step}, where the run ends; {more}")
        else:
            best = f", the best is step {int(self.best['step'])} (val loss {self.best['val/loss']:.4f})" if self.best else ""
            left_out = f"; {self.skipped} steps were left out, they were not finite" if self.skipped else ""
            log.say(f"done: step {self.step}, checkpoint {saved}{best}{left_out}")
        return TrainResult(step=self.step, checkpoint=saved, metrics=dict(self.metrics))

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.loader

    def _train_step(self, batch: Batch, recent: list[Shown]) -> Stepped | None:
        """None where the step was left out."""
        skips = self.config.nonfinite == "skip"
        before = [buffer.clone() for buffer in self.model.buffers()] if skips else []
        made = self.stepper.backward(batch, self.step)
        shown = Shown(self.step + 1, made.loss, made.grad_norm, batch.video, batch.frame)
        self.step += 1
        if skips and self.ranks.any(not bool(shown.fine())):
            for buffer, value in zip(self.model.buffers(), before, strict=True):  # running statistics of it are not finite either
                buffer.copy_(value)
            what = record(shown, self.index, self.out / "nonfinite.jsonl")
            self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
            if self._in_a_row == _IN_A_ROW:
                raise VidsslError(f"train: nonfinite=skip: {_IN_A_ROW} steps were left out one after the other, the last: {what}; lower lr")
            return None
        self._in_a_row = 0
        self.stepper.update(self.step - 1)
        self.tally.add(made.logits, made.label, made.loss, made.kept)
        self.tally.step(made.grad_norm)
        if not skips:
            recent.append(shown)
        return made

    def _report(self, log: Log, clock: _Clock) -> None:
        """Read and log the steps since the last report: the only place where the host waits for the device."""
        total = self.tally.total(self.ranks)
        seconds = time.perf_counter() - clock.began
        counts = torch.tensor([
            clock.clips, self.loader.stats["frames"] - clock.frames, clock.waited, self.loader.stats["bad"], self.skipped,
        ], dtype=torch.float64)  # fmt: skip
        self.ranks.sum(counts)
        clips, frames, waited, bad, skipped = counts.tolist()
        made = total.values()
        values = {f"train/{name}": made[name] for name in ("loss", "accuracy", "rejected", "grad_norm")}
        values |= {
            "train/learning_rate": self.stepper.learning_rate(self.step - 1),
            "train/clips_per_second": clips / seconds,
            "train/frames_per_second": frames / seconds,
            "train/data_wait": waited / self.ranks.size / seconds,
            "train/queue_depth": clock.ready / clock.steps,
            "train/host_memory": host_memory(),
            "train/bad_windows": self._bad + bad,
            "train/skipped_steps": skipped / self.ranks.size,
        }
        if self.ranks.device.type == "cuda":
            values["train/gpu_memory"] = torch.cuda.max_memory_allocated(self.ranks.device) / 2**30
            torch.cuda.reset_peak_memory_stats(self.ranks.device)
        self.metrics |= values
        log.write(self.step, self.loader.epoch, values, total.confusion)
        self.tally.clear()

    def _show(self, log: Log, batch: Batch, made: Stepped) -> None:
        """A picture of tuples as they were shown, with their true and their predicted class."""
        if not self.ranks.first:
            return
        names = self.names
        found, rows = made.logits[:_SEEN].argmax(1).tolist(), batch.video[:_SEEN].cpu().numpy()
        clips = pictures.as_seen(batch.clips[:_SEEN], self.augment)
        paths = self.index.select(rows).column("path").to_pylist()
        true = [names[label] for label in batch.label[:_SEEN].tolist()]
        log.picture("train/tuples", pictures.tuples(clips, true, [names[one] for one in found], paths), self.step)

    @torch.no_grad()
    def _validate(self, log: Log, *, project: bool) -> bool:
        """Whether this is the best so far. project: also show the features of held-out clips."""
        if not len(self.held):
            return False
        self.stepper.share_buffers()
        self.model.eval()
        tally, points = Tally(len(self.names), self.ranks.device), _Points(self.held, self.augment)
        for batch in self.val_loader or ():
            label = batch.label.to(self.ranks.device)
            with self.stepper.autocast():
                features = self.model.features(batch.clips.to(self.ranks.device))
                logits = self.model.head(features).float()
            loss = functional.cross_entropy(logits, label, reduction="none")
            tally.add(logits, label, loss, batch.status.to(self.ranks.device) == 0)
            if project and len(points.features) < _PROJECTED:
                points.add(batch, features)
        self.model.train()
        total = tally.total(self.ranks)
        found = total.values()
        if total.sums[3] == 0:
            return False
        values = {"val/loss": found["loss"], "val/accuracy": found["accuracy"], "val/tuples": float(total.sums[3])}
        self.metrics |= values
        log.write(self.step, self.loader.epoch, values, total.confusion)
        if project and points.features:
            points.show(log, self.step)
        if not math.isfinite(values["val/loss"]) or (self.best is not None and values["val/loss"] >= self.best["val/loss"]):
            return False
        self.best = {"step": self.step, "val/loss": values["val/loss"]}
        return True

    def save(self) -> Path:
        """Write a checkpoint of this moment. The schedule and all random numbers are functions of the step, so it holds neither."""
        pending = self.ranks.gather(self.tally.state_dict())
        self.stepper.share_buffers()
        if self.ranks.first:
            state = {"optimizer": self.stepper.optimizer.state_dict(), "loader": self.loader.state_dict(), "pending": pending}
            checkpoint.save(
                self.out, self.step, encoder=self.model.encoder.state_dict(), head=self.model.head.state_dict(), state=state,
                meta=self.meta | {"step": self.step, "metrics": self.metrics, "best": self.best, "skipped": self.skipped},
                keep=self.config.keep, best=int(self.best["step"]) if self.best else None,
            )  # fmt: skip
        return checkpoint.place(self.out, self.step)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint: weights, optimiser, the loader's position, and what was not logged yet."""
        self.model.encoder.load_state_dict(checkpoint.load_weights(path, "encoder"))
        self.model.head.load_state_dict(checkpoint.load_weights(path, "head"))
        state, meta = checkpoint.load_state(path), checkpoint.load_meta(path)
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        if len(state["pending"]) == self.ranks.size:
            self.tally.load_state_dict(state["pending"][self.ranks.rank])
        self.step, self.metrics, self.best, self.skipped = meta["step"], meta["metrics"], meta["best"], meta["skipped"]
        self._bad = self.metrics.get("train/bad_windows", 0.0)


class _Points:
    """Features of held-out clips, with what they are, for the projector."""

    def __init__(self, index: VideoIndex, augment: Augment) -> None:
        self._index, self._augment = index, augment
        self.features: list[torch.Tensor] = []
        self._about: list[tuple[str, ...]] = []
        self._thumbs: list[torch.Tensor] = []

    def add(self, batch: Batch, features: torch.Tensor) -> None:
        """features: [B, K, D]."""
        seen = pictures.as_seen(batch.clips[:, :, :, batch.clips.shape[3] // 2, None], self._augment)[:, :, :, 0]  # [B, K, 3, h, w]
        rows = self._index.select(batch.video.cpu().numpy())
        names = zip(rows.column("label").to_pylist(), rows.column("path").to_pylist(), batch.frame.cpu(), strict=True)
        for at, (label, path, frame) in enumerate(names):
            for slot in range(len(frame)):
                self.features.append(features[at, slot].float().cpu())
                self._about.append((str(label), path, f"{int(frame[slot, 0])}..{int(frame[slot, -1])}"))
        self._thumbs.append(functional.interpolate(seen.flatten(0, 1).float() / 255, size=(32, 32), mode="area"))

    def show(self, log: Log, step: int) -> None:
        thumbs = torch.cat(self._thumbs)
        log.embedding(torch.stack(self.features), self._about, ("class", "video", "frames"), thumbs, step)


def host_memory() -> float:
    """GiB of this process that are in memory now. Source: proc(5), statm."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30
