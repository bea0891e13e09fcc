"""Contrastive training: clips of one video, cut and coloured independently, should have similar features (SimCLR).

python examples/two_views.py --data VIDEOS                         # two views of the same frames
python examples/two_views.py --data VIDEOS --window 48             # of different moments
python examples/two_views.py --data VIDEOS --count 4 --grid 2 2    # four views, each from a quarter
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from torch import nn

from vidssl import Augment, Loader, VideoIndex, models, views


def contrast(features: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """The loss by which the views of a video find each other among the views of all videos.

    Args:
        features: [B, K, D], of K views of each of B videos.
        temperature: What cosines are divided by.
    """
    count, views_each, _ = features.shape
    flat = nn.functional.normalize(features.flatten(0, 1), dim=1)
    video = torch.arange(count, device=flat.device).repeat_interleave(views_each)
    itself = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    found = (flat @ flat.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    return -found[(video[:, None] == video) & ~itself].mean()


def main(
    data: Path,
    *,
    count: int = 2,
    window: int | None = None,
    grid: tuple[int, int] | None = None,
    steps: int = 100,
    batch_size: int = 8,
) -> None:
    """Train an encoder.

    Args:
        data: Folder of videos.
        count: Views of a video.
        window: Frames of the window in which the views begin at different frames. None: all show the same frames.
        grid: Rows and columns of the picture, one cell for each view. None: each view is cut anywhere.
        steps: Training steps.
        batch_size: Videos a step.
    """
    torch.manual_seed(0)
    look = Augment(resize=(96, 128), crop=(48, 48), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2)
    task = views(count, 8, stride=2, window=window, grid=grid, augment=look)
    encoder = models.r3d_tiny()
    project = nn.Sequential(nn.Linear(encoder.features, 128), nn.ReLU(), nn.Linear(128, 64))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *project.parameters()], lr=1e-3)
    done = 0
    with Loader(VideoIndex.build(data), task, batch_size=batch_size, device="cpu") as loader:
        while done < steps:
            for batch in loader:  # clips [B, K, 3, 8, 48, 48]
                features = project(encoder(batch.clips.flatten(0, 1)))
                loss = contrast(features.unflatten(0, (-1, count)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                print(f"step {done}: loss {float(loss.detach()):.3f}")
                if done == steps:
                    break


if __name__ == "__main__":
    tyro.cli(main)
