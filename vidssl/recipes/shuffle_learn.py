"""Recipes of Shuffle and Learn."""

from __future__ import annotations

from dataclasses import replace

from vidssl.kernels.augment import Augment
from vidssl.pretext import ShuffleLearn
from vidssl.recipes.tiny import TRAIN
from vidssl.train.config import Recipe, TrainConfig


def shuffle_learn_caffenet() -> Recipe:
    """Shuffle and Learn with CaffeNet as published: three of five frames, up to 60 apart, warped to 227 x 227.

    Source: Misra et al., "Shuffle and Learn", ECCV 2016, and the authors' code: SGD, learning rate 1e-3, divided by
    ten after 80,000 of 100,000 steps, momentum 0.9, weight decay 5e-4 (biases: twice the rate, no decay), 128 tuples a
    step in four parts, seed 2, one tuple in four is in order. docs/methods.md compares every setting.
    """
    train = TrainConfig(
        steps=100_000,
        batch_size=128,
        accumulate=4,
        lr=1e-3,
        caffe_bias=True,
        amp="off",
        schedule="step",
        milestones=(80_000,),
        slotwise_bn=False,
        seed=2,
    )
    return Recipe(pretext=ShuffleLearn(windows="motion"), encoder="caffenet", train=train)


def shuffle_learn_resnet18() -> Recipe:
    """Shuffle and Learn with a ResNet-18: the published tuples; crop and mirroring per tuple, colours per frame.

    Source: ours.
    """
    augment = Augment(
        resize=(128, 171),
        crop=(112, 112),
        crop_scope="tuple",
        flip=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        grey=0.2,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    train = TrainConfig(epochs=300, batch_size=128, lr=0.05, weight_decay=1e-4, schedule="cosine", slotwise_bn=False)
    return Recipe(pretext=ShuffleLearn(augment=augment), encoder="resnet18", train=train, store_size="128x171")


def shuffle_learn_tiny() -> Recipe:
    """Shuffle and Learn with a narrow ResNet for a CPU: 32 x 32 crops of frames up to 20 apart.

    Videos need at least 35 frames.

    Source: ours. Right and wrong orders are equally frequent, and a hidden layer can compare frames, so that short runs
    learn.
    """
    augment = Augment(
        resize=(36, 36), crop=(32, 32), crop_scope="tuple", flip=0.5, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    train = replace(TRAIN, epochs=400, batch_size=64, tuples_per_window=4)
    pretext = ShuffleLearn(
        tau_max=20, tau_min=7, positives=1, negatives=1, similar=0.25, tries=256, hidden=128, augment=augment
    )
    return Recipe(pretext=pretext, encoder="resnet_tiny", train=train)
