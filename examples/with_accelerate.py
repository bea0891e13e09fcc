"""The loader under Accelerate, with one process or several. A saved state resumes at the next batch.

pip install accelerate
accelerate launch examples/with_accelerate.py --data VIDEOS --out RUN
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from accelerate import Accelerator

from vidssl import Augment, Loader, VideoIndex, models, pretext


def main(data: Path, out: Path, *, steps: int = 20, batch_size: int = 4, cpu: bool = False) -> None:
    """Train for some steps, and save.

    Args:
        data: Folder of videos.
        out: Folder of the state; if it exists, training continues from it.
        steps: Steps of this call.
        batch_size: Tuples a step, of each process.
        cpu: Train on the CPU also where there is a GPU.
    """
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=cpu)
    task = pretext.Vcop(clip_length=8, interval=4, augment=Augment(resize=(56, 72), crop=(48, 48)))
    model = pretext.PretextModel(models.r3d_tiny(), task)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9))
    with Loader(
        VideoIndex.build(data),
        task,
        batch_size=batch_size,
        seed=0,
        device=accelerator.device,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    ) as loader:
        accelerator.register_for_checkpointing(loader)  # its state is saved and loaded with the others
        if out.exists():
            accelerator.load_state(str(out))
        done = 0
        while done < steps:
            for batch in loader:
                loss = torch.nn.functional.cross_entropy(model(batch.clips), batch.label)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                done += 1
                accelerator.print(f"epoch {loader.epoch}, step {done}: loss {float(loss.detach()):.3f}")
                if done == steps:
                    break
        accelerator.save_state(str(out))


if __name__ == "__main__":
    tyro.cli(main)
