"""Recipes of pace prediction."""

from __future__ import annotations

from dataclasses import replace

from vidssl.pretext import Pace
from vidssl.recipes.tiny import AUGMENT, CONSTANT
from vidssl.train.config import Recipe


def pace_r3d_tiny() -> Recipe:
    """Pace prediction with a narrow R3D for a CPU: clips of 8 frames at pace 1 to 4. Videos need at least 29 frames.

    Source: ours. The encoder sees differences of adjacent frames: from these it leaves chance on real clips within
    1,000 steps, and from the frames themselves not within 2,000. So all frames of a clip have the same change of
    colours, where the published ones have one each: it would hide their differences.
    """
    augment = replace(AUGMENT, color_scope="clip")
    return Recipe(pretext=Pace(clip_length=8, augment=augment), encoder="r3d_tiny_difference", train=CONSTANT)
