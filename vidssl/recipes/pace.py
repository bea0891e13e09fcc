"""Recipes of pace prediction."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import Pace
from vidssl.recipes.tiny import AUGMENT, TRAIN
from vidssl.train.config import Recipe


def pace_r3d_tiny() -> Recipe:
    """Pace prediction with a narrow R3D for a CPU: clips of 8 frames at pace 1, 2 or 4. Videos need at least 29 frames.

    Source: ours. As published, each frame has colours of its own, which hide frame differences that grow with the pace.
    """
    augment = replace(AUGMENT, brightness=0.4, contrast=0.4, color_scope="frame")
    return Recipe(pretext=Pace(clip_length=8, paces=(1, 2, 4), augment=augment), encoder="r3d_tiny", train=TRAIN)
