"""Recipes of the arrow of time."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import Arrow
from vidssl.recipes.tiny import AUGMENT, TRAIN
from vidssl.train.config import Recipe


def arrow_r3d_tiny() -> Recipe:
    """Arrow of time with a narrow R3D for a CPU: 8 frames, every second one. Videos need at least 15 frames.

    Source: ours. One crop, one mirroring and one change of colours for each clip.
    """
    augment = replace(AUGMENT, color_scope="clip")
    return Recipe(pretext=Arrow(clip_length=8, stride=2, augment=augment), encoder="r3d_tiny", train=TRAIN)
