"""Supervised training: the class of each video rides in the batch.

python examples/supervised.py --data VIDEOS
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from torch import nn

from vidssl import Augment, Loader, VideoIndex, labelled_clips, models
from vidssl.index.holdout import split


def main(data: Path, *, epochs: int = 60, batch_size: int = 4, lr: float = 3e-3) -> None:
    """Train a classifier, and count how many held-out videos it gets right.

    Args:
        data: Folder of videos, with one folder a class; or a list with labels; or an index.
        epochs: Passes over the videos.
        batch_size: Clips a step.
        lr: Learning rate.
    """
    torch.manual_seed(0)
    index = VideoIndex.load(data) if data.suffix == ".arrow" else VideoIndex.build(data)
    clips = labelled_clips(8, stride=2, augment=Augment(resize=(56, 72), crop=(48, 48), flip=0.5))
    known, held = split(index, 0.25, seed=0, span=clips.frames)
    encoder = models.r3d_tiny()
    model = nn.Sequential(encoder, nn.Linear(encoder.features, len(known.classes)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    with Loader(known, clips, batch_size=batch_size, device="cpu") as loader:
        for _ in range(epochs):
            for batch in loader:  # clips [B, 1, 3, 8, 48, 48]: one slot
                loss = nn.functional.cross_entropy(model(batch.clips[:, 0]), batch.target, ignore_index=-1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            print(f"epoch {loader.epoch}: loss {float(loss.detach()):.3f}")
    model.eval()
    right = count = 0
    with Loader(held, clips, batch_size=batch_size, device="cpu", train=False) as loader, torch.no_grad():
        for batch in loader:  # the middle of each video, and the centre crop
            said = model(batch.clips[:, 0]).argmax(1)
            right += int((said == batch.target)[batch.target >= 0].sum())
            count += int((batch.target >= 0).sum())
    print(f"{right} of {count} held-out videos right, of {len(known.classes)} classes")


if __name__ == "__main__":
    tyro.cli(main)
