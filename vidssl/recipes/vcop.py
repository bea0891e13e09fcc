"""Recipes of VCOP."""

from __future__ import annotations

from dataclasses import replace

from vidssl.kernels.augment import Augment
from vidssl.pretext import Vcop
from vidssl.recipes.tiny import AUGMENT, CONSTANT
from vidssl.train.config import Recipe, TrainConfig


def vcop_c3d() -> Recipe:
    """VCOP with C3D as published.

    Source: the paper and the code of vcop_r3d, with its settings.
    """
    return _published("c3d")


def vcop_r3d() -> Recipe:
    """VCOP with R3D as published: 3 clips of 16 frames with 8 frames between them. Videos need at least 64 frames.

    Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the
    authors' code: SGD, constant learning rate 1e-3, momentum 0.9, weight decay 5e-4, 8 tuples a step, 300 epochs,
    seed 632. docs/methods.md compares every setting.
    """
    return _published("r3d")


def vcop_r2plus1d() -> Recipe:
    """VCOP with R(2+1)D as published.

    Source: the paper and the code of vcop_r3d, with its settings.
    """
    return _published("r2plus1d")


def vcop_r3d_18() -> Recipe:
    """VCOP with an R3D-18: the published task with mirroring, normalisation, a cosine schedule and joint batch norm.

    Source: ours.
    """
    return _modern("r3d_18")


def vcop_r2plus1d_18() -> Recipe:
    """VCOP with an R(2+1)D-18: the settings of vcop_r3d_18.

    Source: ours.
    """
    return _modern("r2plus1d_18")


def vcop_r3d_tiny() -> Recipe:
    """VCOP with a narrow R3D for a CPU: 3 clips of 8 frames with 14 between them. Videos need at least 52 frames.

    Source: ours. The plan and the head are the published ones; clips are 8 x 32 x 32, cropped from 36 x 36. The encoder
    sees differences of adjacent frames: from these it begins to learn the order of real clips within 200 steps, and
    from the frames themselves not within 900. Clips that are closer are harder to order: interval=4, for which 32
    frames are enough, takes longer.
    """
    augment = replace(AUGMENT, color_scope="tuple")
    pretext = Vcop(clip_length=8, interval=14, dropout=0.0, augment=augment)
    return Recipe(pretext=pretext, encoder="r3d_tiny_difference", train=CONSTANT)


def _published(encoder: str) -> Recipe:
    return Recipe(pretext=Vcop(), encoder=encoder, train=TrainConfig(amp="off", holdout=0.084))


def _modern(encoder: str) -> Recipe:
    augment = Augment(flip=0.5, mean=(0.432, 0.395, 0.376), std=(0.228, 0.221, 0.217))
    train = TrainConfig(batch_size=32, lr=0.02, weight_decay=1e-4, schedule="cosine", slotwise_bn=False)
    return Recipe(pretext=Vcop(augment=augment), encoder=encoder, train=train, store_size="128x171")
