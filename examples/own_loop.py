"""The loader in a training loop of your own. A saved state resumes at the next batch.

python examples/own_loop.py --data VIDEOS --state STATE.pt
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro

from vidssl import Augment, Loader, VideoIndex, models, pretext


def main(data: Path, state: Path, *, steps: int = 20, batch_size: int = 4) -> None:
    """Train for some steps, and save.

    Args:
        data: Folder of videos.
        state: File of weights, optimizer and loader; if it exists, training continues from it.
        steps: Steps of this call.
        batch_size: Tuples a step.
    """
    torch.manual_seed(0)
    task = pretext.Vcop(clip_length=8, interval=4, augment=Augment(resize=(56, 72), crop=(48, 48)))
    model = pretext.PretextModel(models.r3d_tiny(), task)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    with Loader(VideoIndex.build(data), task, batch_size=batch_size, seed=0, device="cpu") as loader:
        if state.exists():
            saved = torch.load(state, weights_only=True)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])
            torch.set_rng_state(saved["random"])  # of dropout
        done = 0
        while done < steps:
            for batch in loader:
                loss = torch.nn.functional.cross_entropy(model(batch.clips), batch.label)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                print(f"epoch {loader.epoch}, step {done}: loss {float(loss.detach()):.3f}")
                if done == steps:
                    break
        saved = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "loader": loader.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(saved, state)


if __name__ == "__main__":
    tyro.cli(main)
