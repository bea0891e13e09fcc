"""Encoder and head of a pretext task as one module."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from vidssl.models import ENCODERS, Encoder
from vidssl.models.norm import with_group_norm
from vidssl.pretext.base import Pretext
from vidssl.types import VidsslError


class SlotModel(nn.Module, ABC):
    """Maps clips [B, K, 3, T, H, W] to logits [B, classes]: an encoder for each slot, and a head on the features."""

    encoder: Encoder
    head: nn.Module

    @abstractmethod
    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """What the encoder makes of each slot: [B, K, D]."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.features(clips))
        return out


class PretextModel(SlotModel):
    """The model of a pretext task.

    slotwise_bn: the encoder is called once a slot, so that batch norm sees each slot's B clips by themselves and
    updates its running statistics K times a step, as VCOP's authors do. False calls it once for all B * K clips:
    faster, and other statistics.
    """

    def __init__(self, encoder: Encoder, pretext: Pretext, *, slotwise_bn: bool = True) -> None:
        super().__init__()
        self.encoder, self.pretext, self.slotwise_bn = encoder, pretext, slotwise_bn
        self.head = pretext.head(encoder.features)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        if self.slotwise_bn and self.training:  # in eval mode both roads are the same map
            return torch.stack([self.encoder(self.pretext.encode(slot)) for slot in clips.unbind(1)], dim=1)
        flat = self.encoder(self.pretext.encode(clips.flatten(0, 1)))
        features: torch.Tensor = flat.unflatten(0, clips.shape[:2])
        return features


def build_encoder(name: str, *, channels: int = 3, norm: str = "batch") -> Encoder:
    """The encoder of that name, newly initialised. norm: "group" has group norm for batch norm. Raises VidsslError
    where there is none.
    """
    if name not in ENCODERS:
        raise VidsslError(f"encoder={name!r}: not known; take one of {', '.join(sorted(ENCODERS))}")
    encoder = ENCODERS[name](channels=channels)
    return with_group_norm(encoder) if norm == "group" else encoder


def build_model(pretext: Pretext, encoder: str, *, slotwise_bn: bool = True, norm: str = "batch") -> PretextModel:
    """A model for a pretext. Raises VidsslError where the encoder is unknown, or what the pretext shows does not fit
    it.

    norm: "batch", or "group": group norm in its stead, in encoder and head; then slots need no calls of their own.
    """
    channels, *size = pretext.input
    module = build_encoder(encoder, channels=channels, norm=norm)
    for axis, have, least, most in zip(
        ("frames", "rows", "columns"), size, module.minimum, module.maximum, strict=True
    ):
        if have < least or (most is not None and have > most):
            takes = (
                f"exactly {least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            )
            raise VidsslError(
                f"encoder={encoder!r}: {pretext.name} shows it clips of {' x '.join(map(str, size))} "
                f"(frames x height x width), and it takes {takes} {axis}; "
                f"take another encoder, or clips of {' x '.join(map(str, module.made_for))}"
            )
    model = PretextModel(module, pretext, slotwise_bn=slotwise_bn and norm == "batch")
    return with_group_norm(model) if norm == "group" else model
