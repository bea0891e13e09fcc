"""Recipes of out-of-order frames."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import OutOfOrder
from vidssl.recipes.tiny import AUGMENT, TRAIN
from vidssl.train.config import Recipe


def out_of_order_tiny() -> Recipe:
    """Out-of-order frames with a narrow ResNet for a CPU: 8 frames, every fourth one. Videos need at least 29 frames.

    Source: ours. Each frame has a crop and colours of its own.
    """
    augment = AUGMENT
    train = replace(TRAIN, epochs=400)
    return Recipe(pretext=OutOfOrder(augment=augment), encoder="resnet_tiny", train=train)
