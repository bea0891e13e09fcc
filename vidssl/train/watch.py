"""Watches the features of held-out videos while an encoder is trained: do they collapse, do they tell classes apart?

RankMe and spread need no labels. An encoder that gives all clips the same feature has RankMe 1 and spread 0, whatever
the loss says.

Sources: RankMe: Garrido et al., ICML 2023. Spread: the standard deviation of normalised features, by which Chen and He
(SimSiam, CVPR 2021) show collapse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from vidssl.index.table import VideoIndex

MOST = 2048  # clips; more are not looked at
COLLAPSED = 1e-3  # spread; rounding alone gives about 1e-6 in float32, and 1e-3 in bfloat16


def rank_me(features: torch.Tensor) -> float:
    """RankMe: the exponential of the entropy of the singular values, from 1 to min(N, D).

    Args:
        features: float [N, D].
    """
    values = torch.linalg.svdvals(features.double())
    fraction = values / values.sum().clamp_min(1e-300) + 1e-7
    return math.exp(float(-(fraction * fraction.log()).sum()))


def spread(features: torch.Tensor) -> float:
    """How far normalised features spread: 0 if all are the same, about 1 if they lie evenly on the sphere.

    Args:
        features: float [N, D].
    """
    unit = functional.normalize(features.double(), dim=1)
    return float((unit - unit.mean(0)).square().sum(1).mean().sqrt())


def knn_accuracy(features: torch.Tensor, labels: Sequence[str | None], groups: Sequence[str]) -> float | None:
    """Fraction of the videos whose nearest video of another group, by cosine, has the same label.

    Args:
        features: float [V, D].
        labels: Label of each video, or None.
        groups: Group of each video.

    Returns:
        The fraction; None if not every video has a label, or all are of one class or group.
    """
    if None in labels or len(set(labels)) < 2 or len(set(groups)) < 2:
        return None
    unit = functional.normalize(features.double(), dim=1)
    near = unit @ unit.T
    number = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    own = torch.tensor([number[group] for group in groups])
    near[own[:, None] == own] = -2
    right = [labels[at] == label for at, label in zip(near.argmax(1).tolist(), labels, strict=True)]
    return float(sum(right) / len(right))


class Watch:
    """Collects the features of held-out clips.

    Args:
        index: The held-out videos.
    """

    def __init__(self, index: VideoIndex) -> None:
        self._index = index
        self.features: list[torch.Tensor] = []
        self.video: list[int] = []

    def add(self, features: torch.Tensor, video: torch.Tensor) -> None:
        """Adds the features [B, K, D] of tuples of videos int64 [B], unless there are MOST clips already."""
        if len(self.video) * features.shape[1] < MOST:
            self.features += features.float().cpu().unbind()
            self.video += video.tolist()

    def values(self) -> dict[str, float]:
        """Metrics under names of vidssl.train.log.METRICS; none for fewer than two clips, or features not finite."""
        if not self.features:
            return {}
        shown = torch.stack(self.features)  # [N, K, D]
        clips = shown.flatten(0, 1)
        if len(clips) < 2 or not clips.isfinite().all():
            return {}
        found = {"watch/rank": rank_me(clips), "watch/spread": spread(clips)}
        rows = self._index.select(torch.tensor(self.video).numpy())
        labels, groups, paths = (rows.column(name).to_pylist() for name in ("label", "group", "path"))
        near = knn_accuracy(shown.mean(1), labels, [one or path for one, path in zip(groups, paths, strict=True)])
        return found if near is None else found | {"watch/knn": near}
