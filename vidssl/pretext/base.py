"""What a pretext task is: a table (`PlanSpec`) and a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from vidssl.stages.plan import PlanSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretext:
    """A pretext task.

    plan: which frames are shown in which order, and the label. `plan.classes` is the number of classes.
    head: feature size D -> module from features [B, K, D] to logits [B, classes].
    """

    name: str
    plan: PlanSpec
    head: Callable[[int], nn.Module]
