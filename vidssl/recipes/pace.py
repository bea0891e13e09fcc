"""Recipes of pace prediction."""

from __future__ import annotations

from vidssl.kernels.augment import Augment
from vidssl.pretext import Pace
from vidssl.train.config import Recipe, TrainConfig


def pace_r3d_tiny() -> Recipe:
    """Pace prediction with a narrow R3D for a CPU: clips of 8 frames at pace 1, 2 or 4. Videos need at least 29 frames.

    Source: ours. As published, each frame has colours of its own, which hide frame differences that grow with the pace.
    """
    augment = Augment(
        resize=(36, 36),
        crop=(32, 32),
        flip=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.5,
        color_scope="frame",
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
    return Recipe(pretext=Pace(clip_length=8, paces=(1, 2, 4), augment=augment), encoder="r3d_tiny", train=train)
