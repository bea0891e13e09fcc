"""Encoders that are not in `models`: from a Python function, or from a folder of Hugging Face's transformers.

| file | what it holds |
|---|---|
| adapter.py | `Adapted`: any module as an `Encoder` |
| code.py | a function of a module or of a file |
| hf.py | `hf:FOLDER`: VideoMAE, V-JEPA 2 and ViT of transformers |
"""

from __future__ import annotations

import torch

from vidssl.encoders.adapter import Adapted, color_notes
from vidssl.encoders.code import call_code, check_trusted, is_code, takes_drop_path
from vidssl.encoders.hf import PREFIX, read_hf
from vidssl.models import Encoder

KINDS = "module:function, path/to/file.py:function, or hf:FOLDER (a model of transformers)"

__all__ = ["KINDS", "Adapted", "build_named", "check_trusted", "color_notes", "is_code", "is_named", "takes_drop_path"]


def is_named(encoder: str) -> bool:
    """Whether the name of an encoder says where to find it, and is not one of vidssl.models.ENCODERS."""
    return encoder.startswith(PREFIX) or is_code(encoder)


def build_named(encoder: str, shape: tuple[int, int, int, int], *, drop_path: float | None = None) -> Encoder:
    """Build a newly initialised encoder, or one with the weights of its folder.

    It is always on the CPU, also within `torch.device("meta")`: its size is found by a forward pass.

    Args:
        encoder: One of KINDS.
        shape: (C, T, H, W) of the clips that it will see.
        drop_path: Rate of its last block in training; None leaves it as it is built.

    Returns:
        The encoder.

    Raises:
        VidsslError: It cannot be found or built, does not take these clips, or has no drop path.
    """
    with torch.device("cpu"):
        if encoder.startswith(PREFIX):
            return read_hf(encoder, shape, drop_path=drop_path)
        made = call_code(encoder, channels=shape[0], drop_path=drop_path)
        return made if isinstance(made, Encoder) else Adapted(made, shape, name=encoder)
