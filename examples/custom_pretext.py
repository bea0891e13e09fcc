"""A pretext task of your own: does this clip go on, or does it turn back in its middle?

python examples/custom_pretext.py --data VIDEOS --out RUN
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import tyro
from torch import nn

from vidssl import Augment, PlanSpec, VideoIndex
from vidssl.pretext import Pretext, register
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train


@register
@dataclass(frozen=True, kw_only=True)
class TurnBack(Pretext):
    """One clip that goes on (class 0), or whose second half shows the first half backwards (class 1).

    Args:
        clip_length: Frames of the clip.
    """

    name: ClassVar[str] = "turn_back"
    clip_length: int = 16

    def table(self) -> PlanSpec:
        """Two arrangements of one slot: the frames as they come, and the first half forwards and backwards."""
        shown = np.arange(self.clip_length)
        return PlanSpec(
            arrangements=np.array([[shown], [np.minimum(shown, shown[::-1])]]),  # [classes, slots, times]
            labels=np.array([0, 1]),
            bases=1,  # one run of frames
            length=self.clip_length,
            augment=self.augment,
        )

    def head(self, features: int) -> nn.Module:
        """From the features of the only slot [B, 1, D] to logits [B, 2]."""
        return nn.Sequential(nn.Flatten(1), nn.Linear(features, 2))

    @property
    def class_names(self) -> list[str]:
        """Names for the log."""
        return ["goes on", "turns back"]


def main(data: Path, out: Path, *, steps: int = 100, batch_size: int = 8) -> None:
    """Train it.

    Args:
        data: Folder of videos.
        out: Folder of the run.
        steps: Training steps.
        batch_size: Clips a step.
    """
    task = TurnBack(clip_length=8, augment=Augment(resize=(56, 72), crop=(48, 48)))
    recipe = Recipe(pretext=task, encoder="r3d_tiny", train=TrainConfig(batch_size=batch_size, lr=1e-2))
    result = train(recipe, VideoIndex.build(data), out, steps=steps, device="cpu")
    print(f"checkpoint: {result.checkpoint}")


if __name__ == "__main__":
    tyro.cli(main)
