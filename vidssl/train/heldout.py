"""Measures a model on the held-out videos while it is trained, and warns where it learns nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.loader import Loader
from vidssl.pretext import Objective
from vidssl.train.log import Log
from vidssl.train.metrics import TaskMetrics
from vidssl.train.projector import Points
from vidssl.train.step import Stepper, task_columns
from vidssl.train.watch import COLLAPSED, Watch

LEARNS_BY = 1000  # steps; a task that is still at chance then is named


def no_better(right: float, tuples: float, chance: float) -> bool:
    """Whether an accuracy is no more than chance: whoever guesses reaches more in one case of twenty.

    Args:
        right: Fraction of the tuples that are right.
        tuples: Number of tuples.
        chance: What one answer to all tuples reaches.
    """
    return right <= chance + 1.645 * math.sqrt(chance * (1 - chance) / tuples)


class HeldOut:
    """The held-out videos of a run.

    Args:
        stepper: The model, of which its moving average is measured if there is one.
        loader: Batches of the held-out videos; None if this process has none of them.
        index: The held-out videos.
        augment: How clips are normalised, which pictures undo.
        objectives: What the model tells apart, in each of its tasks.
    """

    def __init__(
        self,
        stepper: Stepper,
        loader: Loader | None,
        index: VideoIndex,
        augment: Augment,
        *,
        objectives: Sequence[Objective],
    ) -> None:
        self._stepper, self._loader, self.index = stepper, loader, index
        self._augment, self._objectives = augment, objectives
        self._warned: set[str] = set()

    @torch.no_grad()
    def measure(self, log: Log, step: int, *, project: bool) -> tuple[dict[str, float], torch.Tensor]:
        """Shows the model every held-out video. Every process has to call it.

        Args:
            log: Gets warnings, and features for the projector.
            step: The step of the model.
            project: Log features for TensorBoard's projector.

        Returns:
            Metrics under names of vidssl.train.log.METRICS, "val/..." and "watch/..." (in rank 0), of what could be
            measured; confusion int64 [classes, classes].
        """
        process_group, model = self._stepper.process_group, self._stepper.measured
        sums, points = TaskMetrics(self._objectives, process_group.device), Points(self.index, self._augment)
        if not len(self.index):
            return {}, sums.confusion
        self._stepper.share_buffers()
        model.eval()
        watch = Watch(self.index)
        for batch in self._loader or ():
            label, status = (task_columns(part.to(process_group.device)) for part in (batch.label, batch.status))
            with self._stepper.autocast():
                features = model.features(batch.clips.to(process_group.device))
                logits = model.head(features).float()
            sums.add(logits, label, model.losses(logits, label), status == 0)
            watch.add(features, batch.video)
            if project:
                points.add(batch, features)
        model.train()
        if project and points.features:
            points.show(log, step)
        for features_of, videos in process_group.gather((watch.features, watch.video))[1:]:
            watch.features += features_of
            watch.video += videos
        total = sums.total(process_group)
        values: dict[str, float] = {}
        if total.complete:
            found = total.values()
            values = {"val/loss": found["loss"]}
            for one in self._objectives:
                values |= {f"val/{one.metric(name)}": found[one.metric(name)] for name in ("loss", "accuracy")}
                if one.chance is not None:
                    # The tuples are the same each time; few of them may have one label more often than the table has.
                    values[f"val/{one.metric('chance')}"] = max(one.chance, found[one.metric("majority")])
                values[f"val/{one.metric('tuples')}"] = found[one.metric("kept")]
        if process_group.is_first:
            values |= watch.values()
        self._judge(log, step, values)
        return values, total.confusion

    def _judge(self, log: Log, step: int, values: dict[str, float]) -> None:
        """Warns of features that collapse, and of a task that is not learnt."""
        if values.get("watch/spread", math.inf) < COLLAPSED:
            self._warn(
                log,
                "collapse",
                f"step {step}: the features of all held-out clips are nearly the same (spread "
                f"{values['watch/spread']:.1g}, RankMe {values['watch/rank']:.1f}): the encoder has collapsed; "
                "take a lower lr, or another task",
            )
        if step >= LEARNS_BY and "val/loss" in values:
            for one in self._objectives:
                self._judge_task(log, step, one, values)

    def _judge_task(self, log: Log, step: int, task: Objective, values: dict[str, float]) -> None:
        """Warns of a task that is not learnt."""
        right, tuples = (values[f"val/{task.metric(name)}"] for name in ("accuracy", "tuples"))
        chance = values.get(f"val/{task.metric('chance')}")
        if chance is not None and no_better(right, tuples, chance):
            self._warn(
                log,
                task.metric("chance"),
                f"step {step}: {right:.1%} of {tuples:.0f} held-out tuples is no more than chance ({chance:.1%}): "
                f"{task.name or 'the task'} is not learnt; train longer, or take another learning "
                "rate or an easier task",
            )

    def _warn(self, log: Log, kind: str, line: str) -> None:
        """Prints a warning, once of each kind."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.say(f"warning: {line}")
            log.text(f"warning/{kind}", line)
