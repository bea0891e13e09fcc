"""Sums of loss, accuracy and gradient norm between two lines of the log.

They stay on the device, so that no step waits for it, and are part of checkpoints, so that a resumed run logs what an
uninterrupted one does.
"""

from __future__ import annotations

import torch

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
        """Returns loss, accuracy, rejected (fraction of the tuples), grad_norm, shown (tuples) and steps."""
        sums = dict(zip(_SUMS, self.sums.tolist(), strict=True))
        kept = max(sums["kept"], 1.0)
        return {
            "loss": sums["loss"] / kept if sums["kept"] else float("nan"),
            "accuracy": int(self.confusion.diagonal().sum()) / kept,
            "rejected": 1 - sums["kept"] / sums["shown"] if sums["shown"] else 0.0,
            "grad_norm": sums["grad_norm"] / max(sums["steps"], 1.0),
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


def class_accuracy(confusion: torch.Tensor) -> list[float | None]:
    """Returns the accuracy of each class of a confusion matrix int64 [classes, classes]; None if it was not shown."""
    shown = confusion.sum(1).tolist()
    return [right / count if count else None for right, count in zip(confusion.diagonal().tolist(), shown, strict=True)]
