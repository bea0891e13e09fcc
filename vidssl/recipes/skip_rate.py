"""Recipes of skip rates."""

from __future__ import annotations

from vidssl.kernels.augment import Augment
from vidssl.pretext import SkipRate
from vidssl.train.config import Recipe, TrainConfig


def skip_rate_tiny() -> Recipe:
    """Skip rates with a narrow ResNet for a CPU: 8 frames at rates 1, 2 and 4. Videos need at least 27 frames.

    Source: ours. Each frame has a crop and colours of its own. The logits are sums over the frames: at the rate of
    `out_of_order_tiny`, 0.02, the loss of the first steps grows to several times that of guessing.
    """
    augment = Augment(
        resize=(36, 36),
        crop=(32, 32),
        flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.5,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    train = TrainConfig(
        epochs=400,
        batch_size=32,
        lr=0.005,
        schedule="cosine",
        slotwise_bn=False,
        tuples_per_window=2,
        val_every=200,
        save_every=200,
    )
    return Recipe(pretext=SkipRate(augment=augment), encoder="resnet_tiny", train=train)
