"""Shuffle and Learn: are a few frames of a video in the right order?

Source: Misra, Zitnick, Hebert, "Shuffle and Learn: Unsupervised Learning using Temporal Order Verification", ECCV 2016,
and the authors' code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import nn

from vidssl.checks import is_whole
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import MAX_PLACES, MAX_TABLE, MAX_TRIES, PlanSpec
from vidssl.pretext.base import MOST_HIDDEN, Pretext

# Warp to 227 x 227, without flip, crop or jitter. Subtract Caffe's mean; the range stays 255 wide. The channels are
# RGB, while the authors use BGR.
WARP = Augment(
    resize=(227, 227),
    crop=(227, 227),
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)


@dataclass(frozen=True, kw_only=True)
class ShuffleLearn(Pretext):
    """Shuffle and Learn. Draws five frames a < b < c < d < e of a window in proportion to their motion. (b, c, d) is in
    order; (b, a, d) and (b, e, d) are not. A tuple and its reverse have the same label: 1 in order, 0 otherwise.

    Positives and negatives have the same first and last frames, so these alone do not reveal the label. Longer tuples
    are ours: they have more frames c between b and d, and in a negative a or e takes the place of one of them.

    docs/methods.md compares the settings with the published ones. The published head adds a score of each frame and
    cannot compare frames; `hidden` adds a layer that can. If no draw meets the limits, the tuple is marked by its
    status, and training leaves it out of the loss.

    Args:
        tuple_length: Frames in a tuple, 3 to 5.
        tau_max: Largest distance in frames from b to d.
        tau_min: Smallest distance in frames from a to b and from d to e.
        positives: Number of tuples in order among positives + negatives tuples.
        negatives: Number of shuffled tuples among positives + negatives tuples.
        similar: Smallest mean squared difference from each c to a and from each c to e, between 16 x 16 thumbnails of
            luma (0 to 255).
        tries: Number of draws of the frames before the sampler gives up.
        hidden: Outputs of a layer with ReLU before the classifier, which can then compare frames. 0, as published,
            leaves the layer out.
        window: Length in frames of the window from which the frames are drawn. Default: tau_max + 2 tau_min + 1,
            the shortest window that fits tau_max with tau_min on either side.
        windows: Where the window lies. "motion" draws its first frame in proportion to the motion within it. "even"
            draws it evenly.
        augment: How to resize, crop, flip, colour and normalise the frames. Default: warp to 227 x 227 and subtract
            Caffe's mean, nothing random.
    """

    name: ClassVar[str] = "shuffle_learn"
    tuple_length: int = 3
    tau_max: int = 60
    tau_min: int = 15
    positives: int = 1
    negatives: int = 3
    similar: float = 1.0
    tries: int = 64
    hidden: int = 0
    window: int | None = None
    windows: Literal["even", "motion"] = "even"
    augment: Augment = WARP

    def __post_init__(self) -> None:
        self._need_whole(tau_min=1, tau_max=0)
        between = self.tuple_length - 2
        self._need("tuple_length", 3 <= self.tuple_length <= 5, "take 3 to 5 frames")
        self._need(
            "tau_max", self.tau_max > between, f"take at least {between + 1} frames; {between} lie between b and d"
        )
        wrong = 2 * (self.tuple_length - 2)  # ways to replace a frame between b and d
        self._need_whole(MAX_TABLE // (8 * wrong * self.tuple_length), positives=1, negatives=1)
        self._need_whole(MAX_TRIES, tries=1)
        self._need_whole(MOST_HIDDEN, hidden=0)
        self._need("similar", 0 <= self.similar <= 255**2, "take a mean squared difference from 0 to 65025")
        least = 2 * self.tau_min + self.tuple_length
        self._need(
            "window",
            self.window is None or is_whole(self.window, least, MAX_PLACES),
            f"take at least {least} frames (2 * tau_min + {self.tuple_length}), and at most {MAX_PLACES}",
        )
        self._need_span(self._window, "tau_min", "tau_max", "window")

    def table(self) -> PlanSpec:
        """Make the rows. They repeat, so that a uniform draw of rows gives the ratio positives : negatives."""
        first, last = 0, self.tuple_length + 1  # a and e; the tuple in order, b to d, is 1 .. tuple_length
        right = tuple(range(1, last))
        wrong = [(*right[:at], other, *right[at + 1 :]) for at in range(1, last - 2) for other in (first, last)]
        positives, negatives = ([shown for row in rows for shown in (row, row[::-1])] for rows in ([right], wrong))
        rows = positives * (len(wrong) * self.positives) + negatives * self.negatives
        window = self._window
        return PlanSpec(
            arrangements=np.array(rows)[:, :, None],  # [P, K, 1]
            labels=np.array([int(row in positives) for row in rows]),
            bases=self.tuple_length + 2,
            draw="free",
            weight="motion",
            limits=(
                (first, 1, self.tau_min, window),
                (1, last - 1, self.tuple_length - 1, self.tau_max),
                (last - 1, last, self.tau_min, window),
            ),
            distinct=tuple(pair for c in right[1:-1] for pair in ((first, c), (c, last))),
            distinct_min=round(self.similar * 256),
            tries=self.tries,
            window=window,
            windows=self.windows,
            augment=self.augment,
        )

    @property
    def _window(self) -> int:
        return self.window if self.window is not None else self.tau_max + 2 * self.tau_min + 1

    @property
    def class_names(self) -> list[str]:
        """The names of the classes 0 and 1."""
        return ["shuffled", "in order"]

    def head(self, features: int) -> nn.Module:
        """Make a head that concatenates the features and maps them to two classes, with `hidden` in between.

        The classifier is initialised as by Caffe's filler "xavier": uniform, with a variance of 1 / inputs. PyTorch's
        Xavier takes the mean of inputs and outputs instead. Biases start at 0.
        """
        classify = nn.Linear(self.hidden or self.tuple_length * features, 2)
        bound = math.sqrt(3 / classify.in_features)
        nn.init.uniform_(classify.weight, -bound, bound)
        nn.init.zeros_(classify.bias)
        compare = [nn.Linear(self.tuple_length * features, self.hidden), nn.ReLU(inplace=True)] if self.hidden else []
        return nn.Sequential(nn.Flatten(1), *compare, classify)
