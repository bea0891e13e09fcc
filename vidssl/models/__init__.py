"""Encoders: feature extractors without a classifier. `ENCODERS[name]()` builds one."""

from __future__ import annotations

from collections.abc import Callable

from vidssl.models.base import Encoder
from vidssl.models.r3d import R3D, r3d, r3d_tiny

ENCODERS: dict[str, Callable[[], Encoder]] = {"r3d": r3d, "r3d_tiny": r3d_tiny}

__all__ = ["ENCODERS", "R3D", "Encoder", "r3d", "r3d_tiny"]
