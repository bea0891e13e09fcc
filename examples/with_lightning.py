"""The loader under Lightning. A checkpoint in the middle of an epoch resumes at the next batch.

pip install lightning
python examples/with_lightning.py --data VIDEOS --out RUN
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
import tyro
from lightning.pytorch.callbacks import ModelCheckpoint

from vidssl import Augment, Batch, Loader, VideoIndex, models, pretext


class Vcop(lightning.LightningModule):
    """Trains on a pretext task."""

    def __init__(self, task: pretext.Pretext) -> None:
        super().__init__()
        self.model = pretext.PretextModel(models.r3d_tiny(), task)

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.model(batch.clips), batch.label)
        print(f"step {self.global_step + 1}: loss {float(loss.detach()):.3f}")
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-2, momentum=0.9)

    # Lightning keeps the loader's state_dict by itself, but not the random numbers of dropout.
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.random = checkpoint["random"]

    def on_train_start(self) -> None:
        if hasattr(self, "random"):
            torch.set_rng_state(self.random)


def main(data: Path, out: Path, *, steps: int = 20, batch_size: int = 4) -> None:
    """Train up to a step.

    Args:
        data: Folder of videos.
        out: Folder of the checkpoint; if it has one, training continues from it.
        steps: The step at which training ends.
        batch_size: Tuples a step.
    """
    torch.manual_seed(0)
    task = pretext.Vcop(clip_length=8, interval=4, augment=Augment(resize=(56, 72), crop=(48, 48)))
    with Loader(VideoIndex.build(data), task, batch_size=batch_size, seed=0, device="cpu") as loader:
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_steps=steps,
            callbacks=[ModelCheckpoint(out, "last", every_n_train_steps=1, enable_version_counter=False)],
            logger=False,
            enable_progress_bar=False,
        )
        saved = out / "last.ckpt"
        trainer.fit(Vcop(task), loader, ckpt_path=saved if saved.exists() else None, weights_only=True)


if __name__ == "__main__":
    tyro.cli(main)
