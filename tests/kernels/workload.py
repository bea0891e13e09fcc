"""Random frames, specs and plans for the kernels' tests."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import RGB, ColorSpace, Frames

BT601 = np.array(
    [[1.164383, 0, 1.596027, -222.9], [1.164383, -0.391762, -0.812968, 135.6], [1.164383, 2.017232, 0, -276.8]],
    dtype=np.float32,
)
# height, width: odd ones and ones below a cell
SIZES = [(240, 320), (144, 180), (33, 47), (17, 16), (15, 130), (2, 3), (1, 1)]


def make_frames(
    rng: np.random.Generator, count: int, size: tuple[int, int], yuv: bool, chroma: tuple[float, float] = (0.0, 0.5)
) -> Frames:
    """Random frames; what lies outside the picture is random as well, so that reading it shows."""
    rows, cols = (size[0] + 1) // 2 * 2, (size[1] + 1) // 2 * 2
    shape = (count, rows * 3 // 2, cols) if yuv else (count, rows, cols, 3)
    space = ColorSpace(to_rgb=BT601, chroma=chroma) if yuv else RGB
    return Frames(data=rng.integers(0, 256, shape, dtype=np.uint8), number=np.arange(count), size=size, space=space)


def orders(bases: int, length: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    rows = itertools.permutations(range(bases))
    return np.array([[[base * length + t for t in range(length)] for base in row] for row in rows], dtype=np.int32)


EVERY_CHANGE = Augment(
    resize=(40, 50),
    crop=(32, 32),
    crop_scope="frame",
    jitter=4,
    flip=0.5,
    flip_scope="clip",
    brightness=0.4,
    contrast=0.3,
    saturation=0.5,
    grey=0.3,
    split=0.3,
    color_scope="frame",
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
)

SPECS = {
    "clips in a row": PlanSpec(arrangements=orders(3, 16), labels=np.arange(6), bases=3, length=16, gap=(8, 8)),
    "clips, free gaps": PlanSpec(
        arrangements=orders(3, 4), labels=np.arange(6), bases=3, length=4, stride=2, gap=(0, 5), augment=EVERY_CHANGE
    ),
    "clips by motion": PlanSpec(
        arrangements=orders(3, 4),
        labels=np.arange(6),
        bases=3,
        length=4,
        gap=(1, 3),
        weight="motion",
        augment=EVERY_CHANGE,
    ),
    "frames by motion, far apart": PlanSpec(
        arrangements=np.array([[[1], [2], [3]], [[3], [2], [1]], [[1], [0], [3]], [[1], [4], [3]]]),
        labels=np.array([1, 1, 0, 0]),
        bases=5,
        draw="free",
        weight="motion",
        limits=((1, 3, 2, 20), (0, 1, 3, 99), (3, 4, 3, 99)),
        distinct=((0, 2), (2, 4)),
        distinct_min=40_000,
        tries=6,
        augment=EVERY_CHANGE,
    ),
    "frames by motion, where it moves": PlanSpec(
        arrangements=orders(4, 1),
        labels=np.arange(24),
        bases=4,
        draw="free",
        weight="motion",
        limits=((0, 1, 2, 12), (1, 2, 2, 12)),
        augment=dataclasses.replace(EVERY_CHANGE, resize=(60, 80), region=(33, 40), crop_scope="tuple"),
    ),
    "a clip where it moves": PlanSpec(
        arrangements=np.arange(4).reshape(1, 1, 4),
        labels=np.array([0]),
        bases=1,
        length=4,
        stride=2,
        augment=Augment(resize=(50, 50), region=(50, 20), crop=(40, 20)),
    ),
    "clips of cells": PlanSpec(  # pool of 6 frames: cells 0 to 5, and frames that differ in their cells
        arrangements=np.array([[[0, 1], [8, 9], [34, 35]], [[18, 25], [3, 31], [16, 2]]]),
        labels=np.array([0, 1]),
        bases=3,
        length=2,
        gap=(1, 4),
        grid=(2, 3),
        augment=dataclasses.replace(EVERY_CHANGE, resize=(41, 50), crop=(15, 16)),
    ),
    "clips of cells of a region": PlanSpec(
        arrangements=np.arange(16).reshape(1, 4, 4)[:, ::-1],
        labels=np.array([0]),
        bases=1,
        length=4,
        grid=(2, 2),
        augment=Augment(resize=(50, 60), region=(31, 40), crop=(14, 18), crop_scope="tuple", jitter=1),
    ),
    "a table of odd size": PlanSpec(
        arrangements=np.array([[[0, 1, 2]], [[2, 1, 0]], [[1, 1, 1]]]),
        labels=np.array([0, 1, 2]),
        bases=1,
        length=3,
        augment=Augment(resize=(40, 40), crop=(32, 32)),
    ),
    "groups of frames": PlanSpec(
        arrangements=np.arange(12).reshape(1, 4, 3),
        labels=np.array([0]),
        groups=4,
        bases=3,
        draw="free",
        augment=Augment(resize=(40, 50), crop=(40, 50), crop_scope="tuple"),
    ),
    "random crops of a kept aspect": PlanSpec(
        arrangements=orders(3, 4),
        labels=np.arange(6),
        bases=3,
        length=4,
        stride=2,
        gap=(0, 5),
        augment=dataclasses.replace(
            EVERY_CHANGE, short_side=44, crop_area=(0.08, 1.0), crop_aspect=(0.5, 3.0), hue=0.5, split=0.0
        ),
    ),
    "random crops of cells where it moves": PlanSpec(
        arrangements=np.arange(16).reshape(1, 4, 4)[:, ::-1],
        labels=np.array([0]),
        bases=1,
        length=4,
        grid=(2, 2),
        augment=Augment(
            short_side=60,
            region=(31, 40),
            crop=(14, 18),
            jitter=1,
            crop_area=(0.9, 1.0),
            crop_aspect=(8.0, 9.0),
            hue=0.1,
        ),
    ),
    "clips anywhere": PlanSpec(
        arrangements=np.arange(30).reshape(1, 6, 5),
        labels=np.array([0]),
        groups=6,
        bases=1,
        length=5,
        draw="free",
        augment=Augment(resize=(64, 64), crop=(20, 30), crop_scope="clip", brightness=0.2, color_scope="tuple"),
    ),
}
