"""Recipes: a function each, whose docstring says where its settings come from."""

from __future__ import annotations

from collections.abc import Callable

from vidssl.pretext.vcop import Vcop
from vidssl.stages.plan import Augment
from vidssl.train.config import Recipe, TrainConfig


def vcop_r3d() -> Recipe:
    """VCOP with R3D as published: 3 clips of 16 frames, 8 between them; videos of 64 frames and more.

    Source: Xu et al., "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019, and the authors' code: SGD,
    learning rate 1e-3 throughout, momentum 0.9, weight decay 5e-4, 8 tuples a step, 300 epochs, seed 632. They hold out 800 of 9537
    training videos at random; here whole groups of a UCF101-like name (_g01_) are held out, if told so by group="_g\\d+_".
    """
    return Recipe(pretext=Vcop(), encoder="r3d", train=TrainConfig(holdout=0.084))


def vcop_r3d_tiny() -> Recipe:
    """VCOP with a narrow R3D for small clips on a CPU: 3 clips of 8 frames, 4 between them; videos of 32 frames and more.

    Source: ours. The plan and the head are the published ones; clips are 8 x 56 x 56 out of 64 x 86. 32 frames leave out no video of the
    Weizmann set (36 to 146 frames). The learning rate is higher than the published one because the encoder is narrow and runs are short.
    """
    return Recipe(
        pretext=Vcop(clip_length=8, interval=4, augment=Augment(resize=(64, 86), crop=(56, 56))),
        encoder="r3d_tiny",
        train=TrainConfig(batch_size=16, lr=1e-2, epochs=100, val_every=100, save_every=100),
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"vcop_r3d": vcop_r3d, "vcop_r3d_tiny": vcop_r3d_tiny}
