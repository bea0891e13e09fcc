"""Features of held-out clips for TensorBoard's projector."""

from __future__ import annotations

import torch
from torch.nn import functional

from vidssl.index.table import VideoIndex
from vidssl.kernels.augment import Augment
from vidssl.train.log import Log
from vidssl.types import Batch

MOST_CLIPS = 500  # no more batches are added then


class Points:
    """Features, each with the class, video, frames and picture of its clip.

    Args:
        index: The held-out videos.
        augment: How their clips are normalised.
    """

    def __init__(self, index: VideoIndex, augment: Augment) -> None:
        self._index, self._augment = index, augment
        self.features: list[torch.Tensor] = []
        self._about: list[tuple[str, ...]] = []
        self._thumbs: list[torch.Tensor] = []

    def add(self, batch: Batch, features: torch.Tensor) -> None:
        """Adds the clips of a batch, unless there are MOST_CLIPS already. features: [B, K, D]."""
        if len(self.features) >= MOST_CLIPS:
            return
        seen = self._augment.as_shown(batch.clips[:, :, :, batch.clips.shape[3] // 2, None])[:, :, :, 0]
        rows = self._index.select(batch.video.cpu().numpy())
        names = zip(rows.column("label").to_pylist(), rows.column("path").to_pylist(), batch.frame.cpu(), strict=True)
        for at, (label, path, frame) in enumerate(names):
            for slot in range(len(frame)):
                self.features.append(features[at, slot].float().cpu())
                self._about.append((str(label), path, f"{int(frame[slot, 0])}..{int(frame[slot, -1])}"))
        self._thumbs.append(functional.interpolate(seen.flatten(0, 1).float() / 255, size=(32, 32), mode="area"))

    def show(self, log: Log, step: int) -> None:
        """Logs them, as computed after a step."""
        thumbs = torch.cat(self._thumbs)
        log.embedding(torch.stack(self.features), self._about, ("class", "video", "frames"), thumbs, step)
