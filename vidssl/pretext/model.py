"""Encoder and head of a pretext task as one module."""

from __future__ import annotations

import torch
from torch import nn

from vidssl.models import ENCODERS, Encoder
from vidssl.pretext.base import Pretext
from vidssl.types import VidsslError


class PretextModel(nn.Module):
    """clips [B, K, C, T, H, W] to logits [B, classes].

    slotwise_bn: the encoder is called once a slot, so that batch norm sees each slot's B clips by themselves and updates its running
    statistics K times a step, as VCOP's authors do. False calls it once for all B * K clips: faster, and other statistics.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, *, slotwise_bn: bool = True) -> None:
        super().__init__()
        self.encoder, self.head, self.slotwise_bn = encoder, head, slotwise_bn

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if self.slotwise_bn and self.training:  # in eval mode both roads are the same map
            features = torch.stack([self.encoder(slot) for slot in clips.unbind(1)], dim=1)
        else:
            features = self.encoder(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        out: torch.Tensor = self.head(features)
        return out


def build_encoder(name: str) -> Encoder:
    """The encoder of that name, newly initialised. Raises VidsslError where there is none."""
    if name not in ENCODERS:
        raise VidsslError(f"encoder={name!r}: not known; take one of {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]()


def build_model(pretext: Pretext, encoder: str, *, slotwise_bn: bool = True) -> PretextModel:
    """A model for a pretext. Raises VidsslError where the encoder is unknown or the pretext's clips are too small for it."""
    module = build_encoder(encoder)
    size = (pretext.plan.times, *pretext.plan.augment.crop)
    if any(have < least for have, least in zip(size, module.minimum, strict=True)):
        raise VidsslError(
            f"encoder={encoder!r}: clips of {' x '.join(map(str, size))} (frames x height x width) are too small for it; "
            f"take at least {' x '.join(map(str, module.minimum))}, best {' x '.join(map(str, module.made_for))}"
        )
    return PretextModel(module, pretext.head(module.features), slotwise_bn=slotwise_bn)
