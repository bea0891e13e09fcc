"""Pretext tasks. `METHODS[name](**settings)` makes one: a table of what is shown, and a head."""

from __future__ import annotations

from collections.abc import Callable

from vidssl.pretext.base import Pretext
from vidssl.pretext.model import PretextModel, build_encoder, build_model
from vidssl.pretext.vcop import Vcop, vcop

METHODS: dict[str, Callable[..., Pretext]] = {"vcop": vcop}

__all__ = ["METHODS", "Pretext", "PretextModel", "Vcop", "build_encoder", "build_model", "vcop"]
