"""Recipes of the jigsaw in space and time."""

from __future__ import annotations

from vidssl.kernels.augment import Augment
from vidssl.pretext import Jigsaw
from vidssl.train.config import Recipe, TrainConfig


def jigsaw_r3d_tiny() -> Recipe:
    """Jigsaw in space and time with a narrow R3D for a CPU: 4 pieces of 8 x 32 x 32. Videos need at least 35 frames.

    Source: ours. Each piece has colours of its own.
    """
    augment = Augment(
        resize=(72, 72),
        crop=(32, 32),
        brightness=0.2,
        contrast=0.2,
        saturation=0.5,
        color_scope="clip",
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    train = TrainConfig(
        epochs=100,
        batch_size=32,
        lr=0.02,
        schedule="cosine",
        slotwise_bn=False,
        tuples_per_window=2,
        val_every=200,
        save_every=200,
    )
    return Recipe(pretext=Jigsaw(interval=1, dropout=0.0, augment=augment), encoder="r3d_tiny", train=train)
