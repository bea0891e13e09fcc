"""Drop path: in training, a residual branch is left out for some of the clips (stochastic depth).

Source: Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016.
"""

from __future__ import annotations

import torch
from torch import nn


class DropPath(nn.Module):
    """Leaves a branch out, for each sample of a batch by itself. What is kept is divided by the fraction kept.

    Args:
        rate: Fraction of the samples without the branch, 0 <= rate < 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """Computes the branch [N, ...] of which some samples are zero; in evaluation mode, `branch`."""
        if not self.training or self.rate == 0:
            return branch
        kept = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(1 - self.rate)
        return branch * kept.div_(1 - self.rate)


def drop_path_rates(rate: float, blocks: int) -> list[float]:
    """Returns the rate of each block: from 0 in the first to `rate` in the last, in equal steps."""
    return [rate * at / max(1, blocks - 1) for at in range(blocks)]
