"""Masked modelling: a small transformer sees a tenth of a clip and draws the rest (as VideoMAE does).

The loader draws the mask of each clip with its plan, so a run that resumes hides the same cells.

python examples/masked.py --data VIDEOS
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from torch import nn

from vidssl import Augment, Loader, VideoIndex, masked_clips, tube_masks

TIMES, SIDE, FRAMES, CELL = 2, 8, 8, 48 // 8  # a patch is 2 frames of 8 x 8 pixels; the clip has 4 x 6 x 6 of them
PIXELS, WIDTH, PATCHES = 3 * TIMES * SIDE * SIDE, 96, FRAMES // TIMES * CELL * CELL
MASKS = 1024


class Masked(nn.Module):
    """Encodes the visible patches, and draws the hidden ones from them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.draw = nn.Linear(PIXELS, WIDTH), nn.Linear(WIDTH, PIXELS)
        self.place = nn.Parameter(0.02 * torch.randn(PATCHES, WIDTH))
        self.unknown = nn.Parameter(torch.zeros(WIDTH))
        self.encoder, self.decoder = (
            nn.TransformerEncoder(
                nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True),
                layers,
                enable_nested_tensor=False,
            )
            for layers in (3, 1)
        )

    def forward(self, clips: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the hidden patches.

        Args:
            clips: float [B, 3, T, H, W].
            hidden: bool [B, rows, columns]; it hides as many cells of each clip.
        """
        patches = clips.unfold(2, TIMES, TIMES).unfold(3, SIDE, SIDE).unfold(4, SIDE, SIDE)  # [B, 3, t, h, w, ...]
        patches = patches.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(1, 3)  # [B, PATCHES, PIXELS]
        mask = hidden[:, None].expand(-1, FRAMES // TIMES, -1, -1).flatten(1)  # [B, PATCHES]: the same at all times
        seen = (self.embed(patches) + self.place)[~mask].unflatten(0, (len(clips), -1))
        tokens = (self.unknown + self.place).repeat(len(clips), 1, 1)
        tokens[~mask] = self.encoder(seen).flatten(0, 1)
        return nn.functional.mse_loss(self.draw(self.decoder(tokens))[mask], patches[mask])


def main(data: Path, *, hidden: float = 0.9, steps: int = 200, batch_size: int = 8) -> None:
    """Train it.

    Args:
        data: Folder of videos.
        hidden: Fraction of the cells that are hidden.
        steps: Training steps.
        batch_size: Clips a step.
    """
    torch.manual_seed(0)
    look = Augment(resize=(56, 72), crop=(48, 48), flip=0.5, mean=(0.45,) * 3, std=(0.225,) * 3)
    task = masked_clips(FRAMES, stride=2, masks=MASKS, augment=look)
    masks = torch.from_numpy(tube_masks(MASKS, (CELL, CELL), hidden=hidden))
    model = Masked()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    done = 0
    with Loader(VideoIndex.build(data), task, batch_size=batch_size, device="cpu") as loader:
        while done < steps:
            for batch in loader:  # clips [B, 1, 3, 8, 48, 48]; label: the number of each clip's mask
                loss = model(batch.clips[:, 0], masks[batch.label])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                print(f"step {done}: loss {float(loss.detach()):.3f}")
                if done == steps:
                    break


if __name__ == "__main__":
    tyro.cli(main)
