"""Recipes of the jigsaw in space and time."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import Jigsaw
from vidssl.recipes.tiny import AUGMENT, TRAIN
from vidssl.train.config import Recipe


def jigsaw_r3d_tiny() -> Recipe:
    """Jigsaw in space and time with a narrow R3D for a CPU: 4 pieces of 8 x 32 x 32. Videos need at least 35 frames.

    Source: ours. Each piece has colours of its own.
    """
    augment = replace(AUGMENT, resize=(72, 72), color_scope="clip", flip=0.0)
    return Recipe(pretext=Jigsaw(interval=1, dropout=0.0, augment=augment), encoder="r3d_tiny", train=TRAIN)
