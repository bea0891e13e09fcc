"""Turns torchvision's ResNet-18, such as trained on ImageNet, into first weights for the encoder resnet18.

python examples/imagenet.py --weights resnet18.pth --out resnet18.safetensors
vidssl train opn_resnet18 --data VIDEOS --out RUN --init resnet18.safetensors
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import tyro
from safetensors.torch import load_file, save_file

# torchvision's names and ours, in this order
NAMES = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^layer(\d)\.(\d)\.", lambda found: f"stages.{2 * int(found[1]) - 2 + int(found[2])}."),
    (r"\.downsample\.", ".shortcut."),
)


def main(weights: Path, out: Path) -> None:
    """Rename the tensors. The classifier (fc) keeps its name; `--init` then reports it as ignored.

    Args:
        weights: State dict of torchvision's resnet18: a .safetensors file, or a .pth file of tensors alone.
        out: File (.safetensors) to write.
    """
    state = load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)
    renamed = {}
    for name, value in state.items():
        for pattern, ours in NAMES:
            name = re.sub(pattern, ours, name)
        renamed[name] = value.contiguous()
    save_file(renamed, out)
    print(f"wrote {len(renamed)} tensors to {out}")


if __name__ == "__main__":
    tyro.cli(main)
