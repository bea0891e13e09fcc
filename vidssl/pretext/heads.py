"""Heads that several tasks share: one compares every pair of slots, one gives each slot a mark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vidssl.models.norm import CaffeBatchNorm1d


class PairHead(nn.Module):
    """Maps the features [B, K, D] of the slots to logits [B, classes].

    One shared layer processes each pair of slots. One classifier then sees all pairs. With D = 512, three pairs and six
    classes, the head has 534,022 parameters.

    Args:
        features: Features D of a slot.
        pairs: Pairs of slots, in the order in which the classifier sees them.
        classes: Number of classes.
        hidden: Outputs of the shared layer for each pair.
        dropout: Dropout probability before the classifier.
        norm: Apply Caffe's batch norm after the shared layer. It normalises each pair separately. All pairs share one
            set of running statistics, and each pair has its own scale and shift.
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
        self.norm = CaffeBatchNorm1d(hidden, affine=False) if norm else None
        if norm:
            self.scale = nn.Parameter(torch.ones(len(self.pairs), hidden))
            self.shift = nn.Parameter(torch.zeros(len(self.pairs), hidden))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden * len(self.pairs), classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features [B, K, D] to logits [B, classes]."""
        pairs = [self.pair(torch.cat((features[:, i], features[:, j]), dim=1)) for i, j in self.pairs]
        if self.norm is not None:
            pairs = [self.norm(pair) * self.scale[at] + self.shift[at] for at, pair in enumerate(pairs)]
        out: torch.Tensor = self.classify(self.dropout(torch.relu(torch.cat(pairs, dim=1))))
        return out


class FrameHead(nn.Module):
    """Maps the features [B, K, D] of the slots to logits [B, classes], where a class gives each slot a mark.

    A transformer sees the features of all slots in their order, and scores every mark at every slot. The logit of a
    class is the sum of the scores of its marks. So the softmax over the classes is that of independent marks, of which
    only those combinations can occur that the task shows.

    Args:
        features: Features D of a slot, a multiple of `heads`.
        marks: int [classes, K], numbers of the marks from 0.
        depth: Layers of the transformer.
        heads: Attention heads of a layer.
    """

    marks: torch.Tensor

    def __init__(self, features: int, marks: npt.NDArray[np.int64], *, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(marks.shape[1], features) * 0.02)
        layer = nn.TransformerEncoderLayer(
            features, heads, 2 * features, dropout=0.0, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, depth, nn.LayerNorm(features), enable_nested_tensor=False)
        self.score = nn.Linear(features, int(marks.max()) + 1)
        nn.init.normal_(self.score.weight, std=0.01)  # at first all classes are nearly equally likely
        nn.init.zeros_(self.score.bias)
        self.register_buffer("marks", nn.functional.one_hot(torch.from_numpy(marks)).float(), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features [B, K, D] to logits [B, classes]."""
        scores = self.score(self.transformer(features + self.place))  # [B, K, marks]
        return torch.einsum("bkm,ckm->bc", scores, self.marks.to(scores.dtype))
