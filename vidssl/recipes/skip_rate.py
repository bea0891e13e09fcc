"""Recipes of skip rates."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import SkipRate
from vidssl.recipes.tiny import AUGMENT, TRAIN
from vidssl.train.config import Recipe


def skip_rate_tiny() -> Recipe:
    """Skip rates with a narrow ResNet for a CPU: 8 frames at rates 1, 2 and 4. Videos need at least 27 frames.

    Source: ours. Each frame has a crop and colours of its own. The logits are sums over the frames: at the rate of
    `out_of_order_tiny`, 0.02, the loss of the first steps grows to several times that of guessing.
    """
    augment = AUGMENT
    train = replace(TRAIN, epochs=400, lr=0.005)
    return Recipe(pretext=SkipRate(augment=augment), encoder="resnet_tiny", train=train)
