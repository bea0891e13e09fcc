"""Shuffle and Learn: are three frames of a video in the right order?

Source: Misra, Zitnick, Hebert, "Shuffle and Learn: Unsupervised Learning using Temporal Order Verification", ECCV 2016,
and the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Pretext

A, B, C, D, E = range(5)  # five frames in the order of time
POSITIVES = ((B, C, D), (D, C, B))
NEGATIVES = ((B, A, D), (D, A, B), (B, E, D), (D, E, B))  # the ends stay: they alone tell nothing

# Warped to 227 x 227, no flip, no crop, no jitter; Caffe's mean is taken off and the range stays 0..255. RGB, where the
# authors have BGR.
WARP = Augment(
    resize=(227, 227),
    crop=(227, 227),
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)


@dataclass(frozen=True, kw_only=True)
class ShuffleLearn(Pretext):
    """Shuffle and Learn. Five frames a < b < c < d < e of a window are drawn in proportion to their motion. (b, c, d)
    is in order, (b, a, d) and (b, e, d) are not; each may be shown backwards, with the same label: 1 in order, 0 not.

    tau_max and the share of right orders are what others report of the paper; tau_min, the length of the window and the
    threshold of similarity are ours. The published head cannot compare frames, it only adds up what each of them says:
    see `hidden`. Tuples for which no try meets the limits are shown with a status, and training leaves them out of the
    loss.

    Args:
        tau_max: Most frames from b to d.
        tau_min: Fewest frames from a to b and from d to e.
        positives: Of every positives + negatives tuples, so many are in order.
        negatives: See positives.
        similar: The frame in the middle must differ from a and from e by this mean squared difference of luma between
            16 x 16 thumbnails.
        tries: Draws of five frames before a tuple is given up.
        hidden: Numbers of a layer with ReLU before the classifier, which can then compare frames; 0: the published head
            has none.
        window: Frames from which the five are drawn; none takes tau_max + 2 tau_min + 1, the fewest in which every such
            five fits.
        augment: How frames are cut and coloured: warped to 227 x 227, Caffe's mean taken off, nothing random.
    """

    name: ClassVar[str] = "shuffle_learn"
    tau_max: int = 60
    tau_min: int = 15
    positives: int = 1
    negatives: int = 3
    similar: float = 1.0
    tries: int = 64
    hidden: int = 0
    window: int | None = None
    augment: Augment = WARP

    def __post_init__(self) -> None:
        self._need("tau_min", self.tau_min >= 1, "take at least 1 frame")
        self._need("tau_max", self.tau_max >= 2, "take at least 2 frames: one lies between b and d")
        for name in ("positives", "negatives", "tries"):
            self._need(name, getattr(self, name) >= 1, "take at least 1")
        self._need("hidden", self.hidden >= 0, "take at least 0")
        self._need("similar", 0 <= self.similar <= 255**2, "take a mean squared difference, 0..65025")
        least = 2 * self.tau_min + 3
        self._need(
            "window",
            self.window is None or self.window >= least,
            f"take at least {least} frames, which tau_min asks for",
        )

    def table(self) -> PlanSpec:
        """Rows are repeated so that positives : negatives are drawn as asked for, each kind evenly."""
        rows = (*POSITIVES * (2 * self.positives), *NEGATIVES * self.negatives)
        window = self.window if self.window is not None else self.tau_max + 2 * self.tau_min + 1
        return PlanSpec(
            arrangements=np.array(rows)[:, :, None],  # [P, 3, 1]
            labels=np.array([int(row in POSITIVES) for row in rows]),
            bases=5,
            draw="free",
            weight="motion",
            limits=((A, B, self.tau_min, window), (B, D, 2, self.tau_max), (D, E, self.tau_min, window)),
            distinct=((A, C), (C, E)),
            distinct_min=round(self.similar * 256),
            tries=self.tries,
            window=window,
            augment=self.augment,
        )

    @property
    def class_names(self) -> list[str]:
        return ["shuffled", "in order"]

    def head(self, features: int) -> nn.Module:
        """The three features side by side, a hidden layer if there is one, and a linear layer to two classes."""
        classify = nn.Linear(self.hidden or 3 * features, 2)
        nn.init.xavier_uniform_(classify.weight)
        nn.init.zeros_(classify.bias)
        compare = [nn.Linear(3 * features, self.hidden), nn.ReLU(inplace=True)] if self.hidden else []
        return nn.Sequential(nn.Flatten(1), *compare, classify)
