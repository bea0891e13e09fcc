"""Encoders: models that compute features and have no classifier. `ENCODERS[name](channels=3)` builds one.

| file | what it holds |
|---|---|
| base.py, frame.py | `Encoder`, the base class of all encoders; `FrameEncoder`, the base class of encoders of frames |
| c3d.py, r3d.py, r2plus1d.py, resnet3d.py | encoders of clips |
| caffenet.py, resnet.py | encoders of frames |
| residual.py, norm.py | blocks that residual encoders share; replacement of batch norm by group norm |
| drop_path.py | `DropPath`: stochastic depth, for encoders of your own and of transformers |
"""

from __future__ import annotations

from collections.abc import Callable

from vidssl.models.base import Encoder
from vidssl.models.c3d import C3D, c3d
from vidssl.models.caffenet import CaffeNet, alexnet_o3n, caffenet, caffenet_opn, caffenet_opn_full
from vidssl.models.drop_path import DropPath
from vidssl.models.frame import FrameEncoder
from vidssl.models.r2plus1d import r2plus1d
from vidssl.models.r3d import R3D, r3d, r3d_tiny, r3d_tiny_difference
from vidssl.models.resnet import ResNet, resnet18, resnet50, resnet_tiny
from vidssl.models.resnet3d import r2plus1d_18, r3d_18

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "caffenet": caffenet,
    "caffenet_opn": caffenet_opn,
    "caffenet_opn_full": caffenet_opn_full,
    "alexnet_o3n": alexnet_o3n,
    "c3d": c3d,
    "r3d": r3d,
    "r2plus1d": r2plus1d,
    "r3d_18": r3d_18,
    "r2plus1d_18": r2plus1d_18,
    "r3d_tiny": r3d_tiny,
    "r3d_tiny_difference": r3d_tiny_difference,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnet_tiny": resnet_tiny,
}

__all__ = [
    "C3D",
    "ENCODERS",
    "R3D",
    "CaffeNet",
    "DropPath",
    "Encoder",
    "FrameEncoder",
    "ResNet",
    "alexnet_o3n",
    "c3d",
    "caffenet",
    "caffenet_opn",
    "caffenet_opn_full",
    "r2plus1d",
    "r2plus1d_18",
    "r3d",
    "r3d_18",
    "r3d_tiny",
    "r3d_tiny_difference",
    "resnet18",
    "resnet50",
    "resnet_tiny",
]
