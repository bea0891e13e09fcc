"""What the recipes for a CPU share: pictures, and how to train."""

from __future__ import annotations

from dataclasses import replace

from vidssl.kernels.augment import Augment
from vidssl.train.config import TrainConfig

AUGMENT = Augment(
    resize=(36, 36),
    crop=(32, 32),
    flip=0.5,
    brightness=0.2,
    contrast=0.2,
    saturation=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
TRAIN = TrainConfig(
    epochs=100,
    batch_size=32,
    lr=0.02,
    schedule="cosine",
    slotwise_bn=False,
    tuples_per_window=2,
    val_every=200,
    save_every=200,
)
CONSTANT = replace(TRAIN, batch_size=16, lr=0.015, momentum=0.8, schedule="constant")  # on differences of frames
