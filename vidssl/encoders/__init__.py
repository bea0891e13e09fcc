"""Encoders that are not in `models`: from a Python function, a folder of Hugging Face's transformers, or timm.

| file | what it holds |
|---|---|
| adapter.py | `Adapted`: any module as an `Encoder` |
| code.py | a function of a module or of a file |
| hf.py | `hf:FOLDER`: VideoMAE, V-JEPA 2 and ViT of transformers |
| timm.py | `timm:NAME`: a model of timm |
"""

from __future__ import annotations

import torch

from vidssl.encoders.adapter import Adapted, notes
from vidssl.encoders.code import HF, LIBRARIES, TIMM, call_code, check_trusted, is_code, takes_drop_path
from vidssl.encoders.hf import has_weights, read_hf
from vidssl.encoders.timm import make_timm
from vidssl.models import Encoder

KINDS = "module:function, path/to/file.py:function, hf:FOLDER (a model of transformers), or timm:NAME"

__all__ = [
    "KINDS",
    "Adapted",
    "build_named",
    "check_trusted",
    "has_weights",
    "is_code",
    "is_named",
    "notes",
    "takes_drop_path",
]


def is_named(encoder: str) -> bool:
    """Whether the name of an encoder says where to find it, and is not one of vidssl.models.ENCODERS."""
    return encoder.startswith(LIBRARIES) or is_code(encoder)


def build_named(
    encoder: str, shape: tuple[int, int, int, int], *, drop_path: float | None = None, new_weights: bool = False
) -> Encoder:
    """Build a newly initialised encoder, or one with the weights of its folder.

    It is always on the CPU, also within `torch.device("meta")`: its size is found by a forward pass.

    Args:
        encoder: One of KINDS.
        shape: (C, T, H, W) of the clips that it will see.
        drop_path: Rate of its last block in training; None leaves it as it is built.
        new_weights: Give it new weights, also if its folder has some. A function decides by itself.

    Returns:
        The encoder.

    Raises:
        VidsslError: It cannot be found or built, does not take these clips, or has no drop path.
    """
    with torch.device("cpu"):
        if encoder.startswith(HF):
            return read_hf(encoder, shape, drop_path=drop_path, new_weights=new_weights)
        if encoder.startswith(TIMM):
            return make_timm(encoder, shape, drop_path=drop_path)
        made = call_code(encoder, channels=shape[0], drop_path=drop_path)
        return made if isinstance(made, Encoder) else Adapted(made, shape, name=encoder)
