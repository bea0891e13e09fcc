"""What steps add up to until they are logged: on the device, so that no step waits for it; in checkpoints, so that nothing is lost."""

from __future__ import annotations

import torch

from vidssl.train.ranks import Ranks

_SUMS = ("loss", "grad_norm", "steps", "kept", "shown")


class Tally:
    """Sums over tuples and steps.

    sums: float64 [5], see _SUMS: loss of the tuples within the task's limits, their number (kept) and that of all (shown); gradient norms
    and their number (steps). confusion: int64 [classes, classes], rows true, columns predicted.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=device)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, logits: torch.Tensor, label: torch.Tensor, loss: torch.Tensor, kept: torch.Tensor) -> None:
        """Tuples: logits float [B, classes], label int64 [B], loss float [B], kept bool [B]: within the task's limits."""
        self.sums[0] += torch.where(kept, loss, 0).sum(dtype=torch.float64)
        self.sums[3] += kept.sum()
        self.sums[4] += len(kept)
        place = label * self.confusion.shape[1] + logits.argmax(1)
        self.confusion.view(-1).index_add_(0, place, kept.long())

    def step(self, grad_norm: torch.Tensor) -> None:
        """One step of the optimiser, after `add` of its tuples."""
        self.sums[1] += grad_norm
        self.sums[2] += 1

    def total(self, ranks: Ranks) -> Tally:
        """Of all processes. Waits for the device."""
        found = Tally(len(self.confusion), self.sums.device)
        found.sums.copy_(self.sums)
        found.confusion.copy_(self.confusion)
        ranks.sum(found.sums, found.confusion)
        found.sums[1:3] /= ranks.size  # every process has made the same steps, with the same gradients
        return found

    def values(self) -> dict[str, float]:
        """loss, grad_norm (means), accuracy, rejected, shown (tuples), steps."""
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
        return {"sums": self.sums.cpu(), "confusion": self.confusion.cpu()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.sums.copy_(state["sums"])
        self.confusion.copy_(state["confusion"])

    def clear(self) -> None:
        self.sums.zero_()
        self.confusion.zero_()


def class_accuracy(confusion: torch.Tensor) -> list[float | None]:
    """Share answered right of each class; None where it was not shown."""
    shown = confusion.sum(1).tolist()
    return [right / count if count else None for right, count in zip(confusion.diagonal().tolist(), shown, strict=True)]
