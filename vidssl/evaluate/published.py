"""Fine-tuning as published, for methods whose authors fine-tune another network than they pretrain."""

from __future__ import annotations

from vidssl.evaluate.finetune import FineTune
from vidssl.train.config import TrainConfig


def finetune_opn() -> FineTune:
    """How accurate is OPN's encoder after further training with labels, on whole frames?

    The convolutions of a run of opn_caffenet begin a CaffeNet for frames of 224 x 224; its fully connected layers begin
    with random weights. Test videos are shown in 25 frames, each in ten crops.

    Source: the authors' code and README (frames of 224 x 224, 25 frames, ten crops: the corners and the centre, and
    mirrored). That the fully connected layers are random is told by others. Ours: frames of 256 x 340 before the crop,
    mirroring, batch norm with its running statistics, and the schedule, which is that of two-stream networks: SGD,
    learning rate 0.01, divided by ten after 14,000 of 20,000 steps.
    """
    train = TrainConfig(
        steps=20_000,
        batch_size=128,
        lr=0.01,
        caffe_bias=True,
        schedule="step",
        milestones=(14_000,),
        amp="off",
        holdout=0.0,
        save_every=1000,
    )
    return FineTune(
        encoder="caffenet_opn_full",
        fresh=("dense",),
        clips=25,
        crops="ten",
        flip=0.5,
        resize=(256, 340),
        crop=(224, 224),
        train=train,
    )
