"""Sums of loss, accuracy and gradient norm between two lines of the log.

They stay on the device, so that no step waits for it, and are part of checkpoints, so that a resumed run logs what an
uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vidssl.pretext import Objective
from vidssl.train.distributed import ProcessGroup

_SUMS = ("loss", "grad_norm", "steps", "kept", "shown")


class Metrics:
    """Sums over tuples and steps.

    Attributes:
        sums: float64 [5], in the order of _SUMS: loss of the kept tuples, gradient norms, number of steps, of kept
            tuples (those within the task's limits) and of all tuples shown.
        confusion: int64 [classes, classes]; rows are true classes, columns predicted ones.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=device)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, logits: torch.Tensor, label: torch.Tensor, loss: torch.Tensor, kept: torch.Tensor) -> None:
        """Adds tuples.

        Args:
            logits: float [B, classes].
            label: int64 [B].
            loss: float [B].
            kept: bool [B], whether the tuple is within the task's limits.
        """
        self.sums[0] += torch.where(kept, loss, 0).sum(dtype=torch.float64)
        self.sums[3] += kept.sum()
        self.sums[4] += len(kept)
        cell = label * self.confusion.shape[1] + logits.argmax(1)
        self.confusion.view(-1).index_add_(0, cell, kept.long())

    def step(self, grad_norm: torch.Tensor) -> None:
        """Counts one step of the optimizer, after `add` of its tuples."""
        self.sums[1] += grad_norm
        self.sums[2] += 1

    def total(self, process_group: ProcessGroup) -> Metrics:
        """Returns the sums over all processes. Waits for the device."""
        found = Metrics(len(self.confusion), self.sums.device)
        found.sums.copy_(self.sums)
        found.confusion.copy_(self.confusion)
        process_group.all_reduce(found.sums, found.confusion)
        found.sums[1:3] /= process_group.world_size  # every process makes the same steps, with the same gradients
        return found

    def values(self) -> dict[str, float]:
        """Returns loss, accuracy, rejected (fraction of the tuples), grad_norm, kept and shown (tuples), and steps.

        majority is the accuracy of one answer to all these tuples: the fraction of their most common label.
        """
        sums = dict(zip(_SUMS, self.sums.tolist(), strict=True))
        kept = max(sums["kept"], 1.0)
        return {
            "loss": sums["loss"] / kept if sums["kept"] else float("nan"),
            "accuracy": int(self.confusion.diagonal().sum()) / kept,
            "majority": int(self.confusion.sum(1).max()) / kept,
            "rejected": 1 - sums["kept"] / sums["shown"] if sums["shown"] else 0.0,
            "grad_norm": sums["grad_norm"] / max(sums["steps"], 1.0),
            "kept": sums["kept"],
            "shown": sums["shown"],
            "steps": sums["steps"],
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Returns the sums, on the CPU."""
        return {"sums": self.sums.cpu(), "confusion": self.confusion.cpu()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Takes over what `state_dict` returned."""
        self.sums.copy_(state["sums"])
        self.confusion.copy_(state["confusion"])

    def clear(self) -> None:
        """Sets all sums to zero."""
        self.sums.zero_()
        self.confusion.zero_()


class TaskMetrics:
    """The sums of each task of a run.

    Args:
        objectives: The tasks.
        device: Where the sums are.
    """

    def __init__(self, objectives: Sequence[Objective], device: torch.device) -> None:
        self.objectives = objectives
        self.each = [Metrics(len(one.class_names), device) for one in objectives]

    def add(self, logits: torch.Tensor, label: torch.Tensor, loss: torch.Tensor, kept: torch.Tensor) -> None:
        """Adds tuples.

        Args:
            logits: float [B, classes], of all tasks.
            label: int64 [B, tasks].
            loss: float [B, tasks].
            kept: bool [B, tasks].
        """
        parts = torch.split(logits, [len(one.class_names) for one in self.objectives], dim=1)
        for at, (one, part) in enumerate(zip(self.each, parts, strict=True)):
            one.add(part, label[:, at], loss[:, at], kept[:, at])

    def step(self, grad_norm: torch.Tensor) -> None:
        """Counts one step of the optimizer, after `add` of its tuples."""
        for one in self.each:
            one.step(grad_norm)

    def total(self, process_group: ProcessGroup) -> TaskMetrics:
        """Returns the sums over all processes. Waits for the device."""
        found = TaskMetrics(self.objectives, torch.device("cpu"))
        found.each = [one.total(process_group) for one in self.each]
        return found

    def values(self) -> dict[str, float]:
        """Returns what `Metrics.values` does, of all tasks together, and loss, accuracy and majority of each.

        Of several tasks, loss is the weighted sum, there is no common accuracy, rejected counts every task's tuples,
        and "loss/NAME", "accuracy/NAME", "majority/NAME" and "kept/NAME" are those of a task.
        """
        found = [one.values() for one in self.each]
        if len(found) == 1:
            return found[0]
        values = {
            "loss": sum(one.weight * each["loss"] for one, each in zip(self.objectives, found, strict=True)),
            "rejected": sum(each["rejected"] for each in found) / len(found),
            **{name: found[0][name] for name in ("grad_norm", "shown", "steps")},
        }
        for one, each in zip(self.objectives, found, strict=True):
            values |= {one.metric(name): each[name] for name in ("loss", "accuracy", "majority", "kept")}
        return values

    @property
    def complete(self) -> bool:
        """Whether every task has tuples within its limits. Waits for the device."""
        return all(float(one.sums[3]) > 0 for one in self.each)

    @property
    def confusion(self) -> torch.Tensor:
        """int64 [classes, classes]: the matrices of the tasks along the diagonal."""
        found: torch.Tensor = torch.block_diag(*(one.confusion for one in self.each))  # type: ignore[no-untyped-call]
        return found

    def state_dict(self) -> list[dict[str, torch.Tensor]]:
        """Returns the sums of each task, on the CPU."""
        return [one.state_dict() for one in self.each]

    def load_state_dict(self, state: list[dict[str, torch.Tensor]] | dict[str, torch.Tensor]) -> None:
        """Takes over what `state_dict` returned, or that of `Metrics`, as checkpoints of single tasks had it."""
        for one, its in zip(self.each, [state] if isinstance(state, dict) else state, strict=True):
            one.load_state_dict(its)

    def clear(self) -> None:
        """Sets all sums to zero."""
        for one in self.each:
            one.clear()


def class_accuracy(confusion: torch.Tensor) -> list[float | None]:
    """Returns the accuracy of each class of a confusion matrix int64 [classes, classes]; None if it was not shown."""
    shown = confusion.sum(1).tolist()
    return [right / count if count else None for right, count in zip(confusion.diagonal().tolist(), shown, strict=True)]
