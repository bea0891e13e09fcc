"""Recipes of OPN."""

from __future__ import annotations

from dataclasses import replace

from vidssl.kernels.augment import Augment
from vidssl.pretext import Opn
from vidssl.recipes.tiny import TRAIN
from vidssl.train.config import Recipe, TrainConfig


def opn_caffenet() -> Recipe:
    """OPN with CaffeNet as published: four frames in 12 orders, the 80 x 80 patch with most motion, split channels.

    Source: Lee et al., "Unsupervised Representation Learning by Sorting Sequences", ICCV 2017, and the authors' code
    (the network with batch norm): SGD, learning rate 0.01, divided by ten after 130,000 of 170,000 steps,
    momentum 0.9, weight decay 5e-4 (biases of conv1 .. conv5, fc6 and fc7: twice the rate, no decay), 64 tuples a step.
    docs/methods.md compares every setting.
    """
    train = TrainConfig(
        steps=170_000,
        batch_size=64,
        lr=0.01,
        caffe_bias=True,
        amp="off",
        schedule="step",
        milestones=(130_000,),
        slotwise_bn=False,
    )
    return Recipe(pretext=Opn(), encoder="caffenet_opn", train=train)


def opn_resnet18() -> Recipe:
    """OPN with a ResNet-18: a 112 x 112 crop of the whole picture instead of the patch.

    Source: ours.
    """
    augment = Augment(
        resize=(128, 171),
        crop=(112, 112),
        crop_scope="tuple",
        jitter=5,
        flip=0.5,
        split=1.0,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    )
    train = TrainConfig(epochs=300, batch_size=128, lr=0.05, weight_decay=1e-4, schedule="cosine", slotwise_bn=False)
    return Recipe(pretext=Opn(augment=augment), encoder="resnet18", train=train, store_size="128x171")


def opn_tiny() -> Recipe:
    """OPN with a narrow ResNet for a CPU: 32 x 32 crops of the whole picture. Videos need at least 31 frames.

    Source: ours. Grey replaces split channels, with which a short run does not learn.
    """
    augment = Augment(
        resize=(36, 36),
        crop=(32, 32),
        crop_scope="tuple",
        flip=0.5,
        grey=1.0,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    train = replace(TRAIN, epochs=400, batch_size=64, lr=0.01, tuples_per_window=4)
    pretext = Opn(interval_min=4, interval_max=10, tries=256, dropout=0.0, augment=augment)
    return Recipe(pretext=pretext, encoder="resnet_tiny", train=train)
