"""Models that join an encoder and the head of a pretext task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from vidssl.encoders import KINDS, Adapted, build_named, is_named, takes_drop_path
from vidssl.models import ENCODERS, Encoder
from vidssl.models.norm import with_group_norm
from vidssl.pretext.base import Pretext
from vidssl.types import VidsslError

M = TypeVar("M", bound=nn.Module)


class SlotModel(nn.Module, ABC):
    """Maps clips [B, K, 3, T, H, W] to logits [B, classes].

    One encoder computes the features of every slot, and a head maps these features to logits.
    """

    encoder: Encoder
    head: nn.Module
    classes: tuple[int, ...]  # of each task; the logits of the tasks follow each other
    weights: tuple[float, ...] = (1.0,)  # factor of the loss of each task
    plain_biases: tuple[str, ...] = ()  # names of biases that `TrainConfig.caffe_bias` treats like weights

    @abstractmethod
    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the encoder's features [B, K, D] of clips [B, K, 3, T, H, W]."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips [B, K, 3, T, H, W] to logits [B, classes]."""
        out: torch.Tensor = self.head(self.features(clips))
        return out

    def losses(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Compute the cross entropy float [B, tasks] of each task, without its weight.

        Args:
            logits: float [B, classes], of all tasks.
            label: int64 [B, tasks].
        """
        parts = torch.split(logits, list(self.classes), dim=1)
        each = [functional.cross_entropy(part, label[:, at], reduction="none") for at, part in enumerate(parts)]
        return torch.stack(each, dim=1)

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the most likely class int64 [B, tasks] of each task. logits: [B, classes], of all tasks."""
        return torch.stack([part.argmax(1) for part in torch.split(logits, list(self.classes), dim=1)], dim=1)


class PretextModel(SlotModel):
    """The model of a pretext task.

    Args:
        encoder: The encoder for every slot: an `Encoder`, or any module that `vidssl.encoders.Adapted` makes one of.
        pretext: The task, which makes the head.
        slotwise_bn: In training, call the encoder once for each slot, as VCOP's authors do. Batch norm then normalises
            the B clips of each slot separately and updates its running statistics K times in a step. False calls the
            encoder once for all B * K clips, which is faster but gives other statistics.

    Raises:
        VidsslError: The module does not take the clips of the task, or returns no features, or the head of the task
            does not take these features, or gives other classes than the task has.
    """

    def __init__(self, encoder: nn.Module, pretext: Pretext, *, slotwise_bn: bool = True) -> None:
        super().__init__()
        if not isinstance(encoder, Encoder):
            encoder = Adapted(encoder, pretext.input, name=type(encoder).__name__)
        self.encoder = encoder
        self.pretext, self.slotwise_bn = pretext, slotwise_bn
        self.head = pretext.head(self.encoder.features)
        check_head(self.head, pretext, self.encoder.features)
        self.classes = tuple(len(one.class_names) for one in pretext.objectives)
        self.weights = tuple(one.weight for one in pretext.objectives)
        self.plain_biases = tuple(f"head.{name}" for name in pretext.plain_biases)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute features [B, K, D] of clips [B, K, 3, T, H, W]."""
        # In eval mode batch norm uses its running statistics, so both ways compute the same function.
        if self.slotwise_bn and self.training:
            return torch.stack([self.encoder(self.pretext.encode(slot)) for slot in clips.unbind(1)], dim=1)
        flat = self.encoder(self.pretext.encode(clips.flatten(0, 1)))
        features: torch.Tensor = flat.unflatten(0, clips.shape[:2])
        return features


def check_head(head: nn.Module, pretext: Pretext, features: int) -> None:
    """Raise VidsslError if a task's classes have too few names, or its head does not map features to their logits.

    A head on the "meta" device is not called, as one of somebody else may need numbers.

    Args:
        head: What `pretext.head(features)` made. It stays as it is.
        pretext: The task.
        features: Features D of a slot.
    """
    kind = type(pretext).__name__
    classes = 0
    for one, part in zip(pretext.objectives, pretext.plan.parts, strict=True):
        if len(one.class_names) < part.classes:
            raise VidsslError(
                f"pretext: {kind}.class_names{f' of {one.name}' if one.name else ''} has {list(one.class_names)}, but "
                f"the labels of its table have {part.classes} classes; give each class a name"
            )
        classes += len(one.class_names)
    where = f"pretext: {kind}.head({features})"
    if not isinstance(head, nn.Module):
        raise VidsslError(f"{where} gives {head!r}; return a torch.nn.Module")
    if any(one.is_meta for one in head.parameters()):
        return
    slots = torch.zeros(2, pretext.plan.slots, features)
    taken = f"features [B, {pretext.plan.slots}, {features}]"
    fix = f"make a module that maps {taken} to logits [B, {classes}]"
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = deepcopy(head).eval()(slots)
    except Exception as error:
        raise VidsslError(f"{where} does not take {taken}: {error}; {fix}") from error
    shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != [2, classes]:
        raise VidsslError(f"{where} gives {shape} for B = 2, but the task has {classes} classes; {fix}")


def build_encoder(
    name: str,
    shape: tuple[int, int, int, int],
    *,
    norm: str = "batch",
    drop_path: float | None = None,
    new_weights: bool = False,
) -> Encoder:
    """Build a newly initialised encoder, or one with the weights of its folder (hf:FOLDER).

    Args:
        name: Name of the encoder in ENCODERS, or where to find it: module:function, path/to/file.py:function,
            hf:FOLDER, or timm:NAME. Code that is named is imported and run.
        shape: (C, T, H, W) of the clips that it will see.
        norm: "batch" keeps batch norm; "group" replaces it by group norm.
        drop_path: Rate of its last block in training; None leaves the encoder as it is built.
        new_weights: Give it new weights, also if its folder has some.

    Returns:
        The encoder.

    Raises:
        VidsslError: No encoder has this name, it cannot be built from what is named, it has no drop path, or group norm
            cannot replace its norms.
    """
    if name not in ENCODERS and not is_named(name):
        raise VidsslError(f"encoder={name!r}: not known; take one of {', '.join(sorted(ENCODERS))}, or {KINDS}")
    if name in ENCODERS:
        encoder = ENCODERS[name](channels=shape[0], **takes_drop_path(ENCODERS[name], drop_path, name))
    else:
        encoder = build_named(name, shape, drop_path=drop_path, new_weights=new_weights)
    return _group_normed(encoder, name) if norm == "group" else encoder


def build_model(
    pretext: Pretext,
    encoder: str,
    *,
    slotwise_bn: bool = True,
    norm: str = "batch",
    drop_path: float | None = None,
    new_weights: bool = False,
) -> PretextModel:
    """Build a newly initialised model for a pretext task. Its encoder may have the weights of its folder (hf:FOLDER).

    Args:
        pretext: The task.
        encoder: Name of the encoder, as for `build_encoder`.
        slotwise_bn: Call the encoder once for each slot in training; see `PretextModel`.
        norm: "batch" keeps batch norm. "group" replaces it by group norm in the encoder and the head; slotwise_bn then
            has no effect.
        drop_path: Rate of the encoder's last block in training; None leaves the encoder as it is built.
        new_weights: Give the encoder new weights, also if its folder has some.

    Returns:
        The model.

    Raises:
        VidsslError: No encoder has this name, or the clips of the task do not fit the encoder.
    """
    _, *size = pretext.input
    module = build_encoder(encoder, pretext.input, norm=norm, drop_path=drop_path, new_weights=new_weights)
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
    return _group_normed(model, encoder) if norm == "group" else model


def _group_normed(model: M, encoder: str) -> M:
    try:
        return with_group_norm(model)
    except ValueError as error:
        raise VidsslError(f"encoder={encoder!r}: norm='group': {error}") from error
