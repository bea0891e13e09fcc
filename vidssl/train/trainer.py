"""The training loop: steps, and between them the log, validation, pictures and checkpoints."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.memory import host_memory
from vidssl.plots.tuples import tuple_strips
from vidssl.pretext import Objective, SlotModel
from vidssl.train import checkpoint
from vidssl.train.heldout import HeldOut
from vidssl.train.log import Log
from vidssl.train.metrics import TaskMetrics
from vidssl.train.nonfinite import Shown, check_finite, record
from vidssl.train.step import Stepper, StepResult
from vidssl.train.watchdog import Watchdog, stop_requests
from vidssl.types import Batch, VidsslError

_PICTURED = 4  # tuples in a picture
_SKIPS_IN_A_ROW = 20  # steps that are not finite, one after the other, end the run


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Where a run ended.

    Attributes:
        step: The last step.
        checkpoint: The checkpoint of it.
        metrics: The last value of each name of vidssl.train.log.METRICS.
        best: The checkpoint with the lowest validation loss; None if nothing has been validated.
    """

    step: int
    checkpoint: Path
    metrics: Mapping[str, float]
    best: Path | None = None


class Stopped(KeyboardInterrupt):
    """The run was asked to stop, and has written a checkpoint, which the message names.

    Attributes:
        signal: Number of the signal that asked.
    """

    signal: int = signal.SIGINT


@dataclass(kw_only=True)
class _Clock:
    """What this process counts between two lines of the log. It is not saved."""

    began: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    ready: int = 0
    clips: int = 0
    steps: int = 0
    frames: int = 0  # the loader's count at the last line


class Trainer:
    """A run: model, optimizer, loaders, and the step they are at.

    Args:
        stepper: Model and optimizer.
        loader: Batches of the training videos.
        held_out: The held-out videos, which the model is measured on.
        index: The training videos.
        out: The run's folder.
        meta: What each checkpoint's meta.json holds beside the step.
        objectives: What the model tells apart, in each of its tasks.
        augment: How clips are normalised, which pictures undo.
    """

    def __init__(
        self,
        stepper: Stepper,
        loader: Loader,
        held_out: HeldOut,
        index: VideoIndex,
        out: Path,
        meta: dict[str, Any],
        *,
        objectives: Sequence[Objective],
        augment: Augment,
    ) -> None:
        self.stepper, self.loader = stepper, loader
        self.index, self.held_out = index, held_out
        self.model, self.process_group = stepper.model, stepper.process_group
        self.config, self.total = stepper.config, stepper.schedule.total
        self.out, self.meta, self.augment = out, meta, augment
        self.sums = TaskMetrics(objectives, self.process_group.device)
        self._nonfinite = self.process_group.own_file(out / "nonfinite.jsonl")
        self._mark = out / "run.json"
        self._marked = self._mark.is_file()  # if not, the caller keeps no such file
        self.step = self.skipped = self._in_a_row = 0
        self._replaced = 0.0  # windows, before the run was resumed
        self.metrics: dict[str, float] = {}
        self.best: dict[str, float] | None = None  # {"step": ..., "val/loss": ...}

    def fit(self, log: Log) -> TrainResult:
        """Trains up to step `total`; logs, validates and saves on the way.

        Raises:
            VidsslError: A loss or gradient is not finite.
            Stopped: Ctrl-C, SIGTERM or SIGUSR1; a checkpoint has been written.
        """
        config, saved = self.config, None
        recent: list[Shown] = []
        clock = _Clock(frames=self.loader.stats["frames"])
        with stop_requests() as stop, Watchdog(config.timeout, self.loader.waits_for) as watchdog:
            batches = self._batches()
            while self.step < self.total:
                clock.ready += self.loader.queue_depth
                asked = time.perf_counter()
                with watchdog.waiting():
                    batch = next(batches)
                clock.waited += time.perf_counter() - asked
                result = self._train_step(batch, recent)
                clock.clips += batch.frame.shape[0] * batch.frame.shape[1]
                clock.steps += 1
                log.advance()
                stopping = self.process_group.largest(stop.signal) if self.step < self.total else 0
                end = self.step == self.total
                saves, validates = end or self.step % config.save_every == 0, end or self.step % config.val_every == 0
                try:
                    if saves or validates or self.step % config.log_every == 0:
                        self._check_finite(recent)
                        self._report(log, clock)
                        recent.clear()
                        clock = _Clock(frames=self.loader.stats["frames"])
                    if result is not None and (end or self.step % config.show_every == 0):
                        self._show(log, batch, result)
                    watches = validates or self.step % config.watch == 0
                    if watches and self._look(log, validates=validates, project=end):
                        saves = True  # the best so far
                except OSError as error:
                    raise self._cannot_write(error) from error
                if saves or stopping:
                    self._check_finite(recent)
                    saved = self.save()
                if stopping:
                    stopped = Stopped(
                        f"stopped at step {self.step} of {self.total}; checkpoint: {saved}; "
                        "the same command with --resume continues"
                    )
                    stopped.signal = stopping
                    raise stopped
            if saved is None and "val/loss" not in self.metrics and self._look(log, validates=True, project=True):
                self.save()  # a run that was stopped, and now ends where it is, has its validation at the end as well
        saved = self._say_end(log, saved)
        best_path = checkpoint.path_of(self.out, int(self.best["step"])) if self.best else None
        return TrainResult(step=self.step, checkpoint=saved, metrics=dict(self.metrics), best=best_path)

    def _say_end(self, log: Log, saved: Path | None) -> Path:
        """Says where the run ended, and returns its checkpoint. saved: None if nothing was trained."""
        if saved is None:
            saved = checkpoint.find(self.out)
            hint = (
                "its cosine schedule has ended"
                if self.config.schedule == "cosine"
                else f"to train longer, take steps > {self.step}"
            )
            log.say(f"nothing to train: {saved} is at step {self.step}, and the run ends at step {self.total}; {hint}")
            return saved
        best = skipped = ""
        if self.best:
            best = f", the best is step {int(self.best['step'])} (val loss {self.best['val/loss']:.4f})"
        if self.skipped:
            skipped = f"; {self.skipped} steps were skipped because their loss or gradient was not finite"
        log.say(f"done: step {self.step}, checkpoint {saved}{best}{skipped}")
        return saved

    def _cannot_write(self, error: OSError) -> VidsslError:
        """Saves the step if the log cannot be written, and returns the error to raise."""
        kept = "earlier checkpoints are whole"
        if self.process_group.world_size == 1:  # saving waits for all processes, which do not know of the error
            try:
                kept = f"checkpoint: {self.save()}"
            except VidsslError as worse:
                if self._is_deleted():
                    return worse
        return VidsslError(
            f"train: out={str(self.out)!r}: the log cannot be written at step {self.step}: {error.strerror or error}; "
            f"free some space there; {kept}; the same command with --resume continues"
        )

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.loader

    def _train_step(self, batch: Batch, recent: list[Shown]) -> StepResult | None:
        """One step of the optimizer; None if it was skipped."""
        skips = self.config.nonfinite == "skip"
        before = [buffer.clone() for buffer in self.model.buffers()] if skips else []
        result = self.stepper.backward(batch, self.step)
        shown = Shown(self.step + 1, result.loss.sum(1), result.grad_norm, batch.video, batch.frame)
        self.step += 1
        if skips and self.process_group.largest(not bool(shown.is_finite())):
            for buffer, value in zip(self.model.buffers(), before, strict=True):  # not finite either
                buffer.copy_(value)
            what = record(shown, self.index, self._nonfinite)
            self.skipped, self._in_a_row = self.skipped + 1, self._in_a_row + 1
            if self._in_a_row == _SKIPS_IN_A_ROW:
                raise VidsslError(
                    f"train: nonfinite=skip: {_SKIPS_IN_A_ROW} steps in a row were skipped; "
                    f"the last one: {what}. {self._kept()}; lower lr"
                )
            return None
        self._in_a_row = 0
        self.stepper.update(self.step - 1)
        self.sums.add(result.logits, result.label, result.loss, result.kept)
        self.sums.step(result.grad_norm)
        if not skips:
            recent.append(shown)
        return result

    def _check_finite(self, steps: Sequence[Shown]) -> None:
        """Raises VidsslError if a step is not finite."""
        check_finite(steps, self.index, self._nonfinite, self._kept)

    def _kept(self) -> str:
        """What a run that ends in an error leaves: a sentence without its full stop."""
        found, _ = checkpoint.latest(self.out)
        if found:
            return f"The latest checkpoint is {found}, from which --resume continues"
        return "The run has made no checkpoint yet, so the same command without --resume begins anew in the same folder"

    def _report(self, log: Log, clock: _Clock) -> None:
        """Logs the steps since the last report. Only here does the host wait for the device."""
        total = self.sums.total(self.process_group)
        seconds = time.perf_counter() - clock.began
        counts = torch.tensor(
            [
                clock.clips,
                self.loader.stats["frames"] - clock.frames,
                clock.waited,
                self.loader.stats["replaced"],
                self.skipped,
            ],
            dtype=torch.float64,
        )
        self.process_group.all_reduce(counts)
        clips, frames, waited, replaced, skipped = counts.tolist()
        means = total.values()
        each = [one.metric(name) for one in total.objectives for name in ("loss", "accuracy")]
        values = {f"train/{name}": means[name] for name in dict.fromkeys(["loss", *each, "rejected", "grad_norm"])}
        values |= {
            "train/learning_rate": self.stepper.schedule(self.step - 1),
            "train/clips_per_second": clips / seconds,
            "train/frames_per_second": frames / seconds,
            "train/data_wait": waited / self.process_group.world_size / seconds,
            "train/queue_depth": clock.ready / clock.steps,
            "train/host_memory": host_memory(),
            "train/replaced_windows": self._replaced + replaced,
            "train/skipped_steps": skipped / self.process_group.world_size,
        }
        values |= {f"train/windows/{name}": count for name, count in self.loader.drawn.items()}
        if self.process_group.device.type == "cuda":
            values["train/gpu_memory"] = torch.cuda.max_memory_allocated(self.process_group.device) / 2**30
            torch.cuda.reset_peak_memory_stats(self.process_group.device)
        self.metrics |= values
        log.write(self.step, self.loader.epoch, values, total.confusion)
        self.sums.clear()

    def _show(self, log: Log, batch: Batch, result: StepResult) -> None:
        """Logs a picture of tuples as they were shown, with true and predicted classes."""
        if not self.process_group.is_first:
            return
        rows = batch.video[:_PICTURED].cpu().numpy()
        clips = self.augment.as_shown(batch.clips[:_PICTURED]).numpy()
        paths = self.index.select(rows).column("path").to_pylist()
        true, found = (
            [", ".join(one.titles()[at] for one, at in zip(self.sums.objectives, row, strict=True)) for row in rows_of]
            for rows_of in (result.label[:_PICTURED].tolist(), self.model.predict(result.logits[:_PICTURED]).tolist())
        )
        log.picture("train/tuples", tuple_strips(clips, true, found, paths), self.step)

    def _look(self, log: Log, *, validates: bool, project: bool) -> bool:
        """Measures the model on the held-out videos; returns whether its loss is the lowest so far.

        validates: also log loss and accuracy.
        project: also log features for TensorBoard's projector.
        """
        values, confusion = self.held_out.measure(log, self.step, project=project)
        if not validates:
            values = {name: value for name, value in values.items() if name.startswith("watch/")}
        if values:
            self.metrics |= values
            log.write(self.step, self.loader.epoch, values, confusion if validates else None)
        loss = values.get("val/loss", math.inf)
        if not math.isfinite(loss) or (self.best is not None and loss >= self.best["val/loss"]):
            return False
        self.best = {"step": self.step, "val/loss": loss}
        return True

    def save(self) -> Path:
        """Writes a checkpoint, without learning rate and random numbers, which are functions of the step.

        Raises:
            VidsslError: It cannot be written, or the run's folder was deleted since the start and is now made again.
        """
        pending = self.process_group.gather(self.sums.state_dict())
        self.stepper.share_buffers()
        # All wait for it: a batch system may end what is left of a run when the first process has ended.
        self.process_group.run_on_first(partial(self._write, pending), patient=False)
        return checkpoint.path_of(self.out, self.step)

    def _write(self, pending: list[list[dict[str, torch.Tensor]]]) -> None:
        """Writes a checkpoint. pending: The sums of each process that are not logged yet."""
        state = {
            "optimizer": self.stepper.optimizer.state_dict(),
            "loader": self.loader.state_dict(),
            "pending": pending,
        }
        average = self.stepper.average
        if average is not None:
            state["averaged"] = average.n_averaged.cpu()
        path = checkpoint.save(
            self.out,
            self.step,
            encoder=self.model.encoder.state_dict(),
            head=self.model.head.state_dict(),
            average=None if average is None else _parts(self.stepper.measured),
            state=state,
            meta=self.meta | {"step": self.step, "metrics": self.metrics, "best": self.best, "skipped": self.skipped},
            keep=self.config.keep,
            best=int(self.best["step"]) if self.best else None,
        )
        if self._is_deleted():
            raise VidsslError(
                f"train: out={str(self.out)!r}: the folder was deleted or replaced while the run wrote to it, with its "
                f"log and earlier checkpoints; {path} has been written anew, and --resume continues from it"
            )

    def _is_deleted(self) -> bool:
        """Whether the run's folder was deleted or replaced since the start."""
        return self._marked and not self._mark.is_file()

    def load(self, path: Path) -> None:
        """Restores a checkpoint: weights, optimizer, the loader's position, and sums that are not logged yet.

        Only rank 0 reads it; the other processes, on whose machines it may not lie, get what it holds.
        """
        share, is_first = self.process_group.run_on_first, self.process_group.is_first
        weights: list[tuple[SlotModel, checkpoint.Which]] = [(self.model, "raw")]
        if self.stepper.average is not None:
            weights.append((self.stepper.measured, "ema"))
        for model, which in weights:
            for part, module in (("encoder", model.encoder), ("head", model.head)):
                tensors = share(partial(checkpoint.load_into, module, path, part, which))
                if not is_first:
                    module.load_state_dict(tensors)
        state = share(partial(self._load_state, path))
        if not is_first:
            self._restore(state)
        meta = share(partial(checkpoint.load_meta, path, "step", "metrics", "best", "skipped"))
        self.step, self.metrics, self.best, self.skipped = meta["step"], meta["metrics"], meta["best"], meta["skipped"]
        self._replaced = self.metrics.get("train/replaced_windows", 0.0)

    def _load_state(self, path: Path) -> dict[str, Any]:
        """Restores what a checkpoint's state.pt holds, and returns it."""
        state = checkpoint.load_state(path)
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoint.not_of_this_version(path, "its state.pt holds another state", error) from error
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        """Restores what state.pt holds."""
        if self.stepper.average is not None:
            self.stepper.average.n_averaged.copy_(state["averaged"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.loader.load_state_dict(state["loader"])
        if len(state["pending"]) == self.process_group.world_size:
            self.sums.load_state_dict(state["pending"][self.process_group.rank])


def _parts(model: SlotModel) -> dict[str, checkpoint.Tensors]:
    return {"encoder": model.encoder.state_dict(), "head": model.head.state_dict()}
