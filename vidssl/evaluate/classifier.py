"""What fine-tuning trains, and on what: an encoder with a linear layer, and a loader of labelled clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from vidssl.index.table import VideoIndex
from vidssl.kernels.plan import PlanSpec
from vidssl.loader import Loader
from vidssl.models import Encoder
from vidssl.pretext import SlotModel
from vidssl.types import Batch, VidsslError


class Classifier(SlotModel):
    """An encoder and a linear layer, without dropout: clips [B, 1, 3, T, H, W] to logits [B, classes].

    Args:
        encoder: The encoder.
        encode: What the encoder sees of clips [N, 3, T, H, W].
        classes: Number of classes.
        frozen: Names of parts of the encoder that keep their weights and running statistics.

    Raises:
        VidsslError: The encoder has no such part.
    """

    def __init__(
        self, encoder: Encoder, encode: Callable[[torch.Tensor], torch.Tensor], classes: int, frozen: Sequence[str]
    ) -> None:
        super().__init__()
        self.encoder, self.encode, self.classes = encoder, encode, (classes,)
        self.head = nn.Sequential(nn.Flatten(1), nn.Linear(encoder.features, classes))
        named = dict(encoder.named_modules())
        if unknown := [name for name in frozen if not name or name not in named]:
            parts = ", ".join(name for name in named if name and name.count(".") < 2)
            raise VidsslError(f"finetune: freeze={unknown!r}: take some of {parts}")
        self.frozen = [named[name] for name in frozen]
        for part in self.frozen:
            part.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.encoder(self.encode(clips.flatten(0, 1)))
        return found[:, None]


class Labelled(Loader):
    """A loader whose labels are the videos' classes.

    Args:
        index: The videos.
        spec: What to show.
        classes: Names of the classes; a batch holds their positions in this list.
        settings: Other arguments of Loader.
    """

    def __init__(self, index: VideoIndex, spec: PlanSpec, *, classes: Sequence[str], **settings: Any) -> None:
        super().__init__(index, spec, **settings)
        number = {name: at for at, name in enumerate(classes)}
        self._labels = torch.tensor([number[name] for name in index.column("label").to_pylist()])  # int64 [rows]

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            yield batch._replace(label=self._labels[batch.video.cpu()].to(batch.label.device))
