"""Recipes of Odd-One-Out."""

from __future__ import annotations

from vidssl.kernels.augment import Augment
from vidssl.pretext import OddOneOut
from vidssl.recipes.tiny import TRAIN
from vidssl.train.config import Recipe, TrainConfig


def odd_one_out_alexnet() -> Recipe:
    """Odd-One-Out with AlexNet up to its first dense layer: six sequences of six frames, stacks of differences.

    Source: Fernando et al., "Self-Supervised Video Representation Learning With Odd-One-Out Networks", CVPR 2017, for
    the task. We know no published training settings. docs/methods.md compares every setting.
    """
    train = TrainConfig(epochs=300, batch_size=64, lr=0.01, schedule="cosine", amp="off", slotwise_bn=False)
    return Recipe(pretext=OddOneOut(), encoder="alexnet_o3n", train=train)


def odd_one_out_resnet18() -> Recipe:
    """Odd-One-Out with a ResNet-18: the same 112 x 112 crop and mirroring for all sequences of a tuple.

    Source: ours.
    """
    augment = Augment(resize=(128, 171), crop=(112, 112), crop_scope="tuple", flip=0.5)
    train = TrainConfig(epochs=300, batch_size=64, lr=0.05, weight_decay=1e-4, schedule="cosine", slotwise_bn=False)
    return Recipe(pretext=OddOneOut(augment=augment), encoder="resnet18", train=train, store_size="128x171")


def odd_one_out_tiny() -> Recipe:
    """Odd-One-Out with a narrow ResNet for a CPU: six sequences of six frames, every second frame.

    Videos need at least 16 frames.

    Source: ours.
    """
    augment = Augment(resize=(36, 36), crop=(32, 32), crop_scope="tuple", flip=0.5, std=(0.25, 0.25, 0.25))
    return Recipe(pretext=OddOneOut(stride=2, augment=augment), encoder="resnet_tiny", train=TRAIN)
