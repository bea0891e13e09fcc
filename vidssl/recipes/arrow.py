"""Recipes of the arrow of time."""

from __future__ import annotations

from vidssl.kernels.augment import Augment
from vidssl.pretext import Arrow
from vidssl.train.config import Recipe, TrainConfig


def arrow_r3d_tiny() -> Recipe:
    """Arrow of time with a narrow R3D for a CPU: 8 frames, every second one. Videos need at least 15 frames.

    Source: ours. One crop, one mirroring and one change of colours for each clip.
    """
    augment = Augment(
        resize=(36, 36),
        crop=(32, 32),
        flip=0.5,
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
    return Recipe(pretext=Arrow(clip_length=8, stride=2, augment=augment), encoder="r3d_tiny", train=train)
