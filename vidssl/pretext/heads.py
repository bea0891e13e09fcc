"""What two methods share: a head that compares every pair of slots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class PairHead(nn.Module):
    """Every pair of slots through one shared layer, then one classifier over all pairs.

    features [B, K, D] to logits [B, classes]; 534,022 parameters for D = 512, three pairs, classes = 6.
    pairs: of slots, in the order in which the classifier sees them. norm: batch norm after the shared layer: one set of
    running statistics for all pairs, each pair normalised by itself, and a scale and shift of its own for each pair.
    """

    def __init__(
        self,
        features: int,
        pairs: Sequence[tuple[int, int]],
        classes: int,
        *,
        hidden: int = 512,
        dropout: float = 0.5,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.pairs = list(pairs)
        self.pair = nn.Linear(2 * features, hidden)
        self.norm = nn.BatchNorm1d(hidden, affine=False) if norm else None
        if norm:
            self.scale = nn.Parameter(torch.ones(len(self.pairs), hidden))
            self.shift = nn.Parameter(torch.zeros(len(self.pairs), hidden))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden * len(self.pairs), classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        pairs = [self.pair(torch.cat((features[:, i], features[:, j]), dim=1)) for i, j in self.pairs]
        if self.norm is not None:
            pairs = [self.norm(pair) * self.scale[at] + self.shift[at] for at, pair in enumerate(pairs)]
        out: torch.Tensor = self.classify(self.dropout(torch.relu(torch.cat(pairs, dim=1))))
        return out
