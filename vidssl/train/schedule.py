"""The learning rate of each step: a warm-up, then the schedule.

PyTorch's schedulers keep a state and multiply the last rate by a factor. This one is a function of the step, so nothing
of it is saved, and a resumed run has the same bits. `tests/train/test_schedule.py` compares it with PyTorch's.
"""

from __future__ import annotations

import math

from vidssl.train.config import TrainConfig
from vidssl.types import VidsslError


class Schedule:
    """Learning rates.

    Args:
        config: How to train.
        total: Steps of the whole run, where a cosine schedule ends.
        epoch: Steps of an epoch, which measure warmup_epochs.

    Raises:
        VidsslError: A cosine schedule would begin after the end of the run.
    """

    def __init__(self, config: TrainConfig, *, total: int, epoch: int) -> None:
        self._config, self.total = config, total
        given = config.warmup_steps
        self.warmup = config.warmup_epochs * epoch if given is None else given
        if config.schedule == "cosine" and self.warmup and self.warmup >= total:
            name = f"warmup_epochs={config.warmup_epochs}" if given is None else f"warmup_steps={given}"
            raise VidsslError(
                f"train: {name}: the warm-up takes {self.warmup} steps and the run {total}, which leaves none to the "
                "cosine; take a shorter warm-up, or a longer run"
            )

    def __call__(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        config = self._config
        if config.schedule == "cosine":
            if step < self.warmup:
                return config.lr * (step + 1) / self.warmup
            done = min(1.0, (step - self.warmup) / (self.total - self.warmup))
            return config.lr_floor + (config.lr - config.lr_floor) * 0.5 * (1 + math.cos(math.pi * done))
        rate = config.lr * 0.1 ** sum(step >= milestone for milestone in config.milestones)
        return rate * (step + 1) / self.warmup if step < self.warmup else rate
