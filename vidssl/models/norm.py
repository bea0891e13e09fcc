"""Norms that encoders and heads share: Caffe's batch norm; instead of batch norm, group norm or batch norm over all
processes.

Sources: Caffe, src/caffe/layers/batch_norm_layer.cpp; Wu, He, "Group Normalization", ECCV 2018. Group norm normalises
each clip independently of the others in its batch.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

# At most 32 groups, and at least 16 channels per group, as in the paper. A group of only two channels would keep little
# but signs.
GROUPS, CHANNELS = 32, 16
M = TypeVar("M", bound=nn.Module)
_Batch = nn.modules.batchnorm._BatchNorm
FRACTION = 0.999  # Caffe's moving_average_fraction, which no published model of ours changes


class CaffeBatchNorm(_Batch):
    """Batch norm whose running statistics are Caffe's.

    After n calls in training, the running mean is the weighted mean of the n means, where the k-th has the weight
    FRACTION^(n - k); the same holds for the unbiased variances. PyTorch instead starts from a mean of 0 and a variance
    of 1, which it forgets by 0.1 in each call. All else is the same, also what is computed in training. `sync_bn`
    replaces this norm by PyTorch's, with PyTorch's running statistics.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise [N, C] or [N, C, ...] over all axes but C."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        self.num_batches_tracked.add_(1)
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        out = functional.batch_norm(input, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)
        # (1 - f) / (1 - f^n): the weight of this call. Computed on the device, so that the host does not wait for it.
        share = (1 - FRACTION) / -torch.expm1(self.num_batches_tracked * math.log(FRACTION))
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)
        return out


class CaffeBatchNorm1d(CaffeBatchNorm, nn.BatchNorm1d):
    """`CaffeBatchNorm` of [N, C] or [N, C, L]."""


class CaffeBatchNorm2d(CaffeBatchNorm, nn.BatchNorm2d):
    """`CaffeBatchNorm` of [N, C, H, W]."""


class _Activates(nn.Module):
    """Before a norm among the bases of a class: dropout and activation follow it, as in timm's BatchNormAct2d."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise [N, C, ...], and apply the dropout and the activation."""
        found: torch.Tensor = self.act(self.drop(super().forward(input)))
        return found


class GroupNormAct(_Activates, nn.GroupNorm):
    """Group norm in the place of a batch norm that has a dropout and an activation."""


class SyncBatchNormAct(_Activates, nn.SyncBatchNorm):
    """Batch norm over all processes in the place of one that has a dropout and an activation."""


def with_group_norm(model: M) -> M:
    """Replaces every batch norm of a model, in place.

    A group norm has a scale and a shift if the batch norm had them; they start at 1 and 0. A dropout and an activation
    that are parts of a batch norm stay.

    Args:
        model: The model; not itself a batch norm.

    Returns:
        `model`.

    Raises:
        ValueError: A batch norm computes something besides that is not a dropout and an activation.
    """
    for name, module in model.named_children():
        if isinstance(module, _Batch):
            activates, channels = _activates(module), module.num_features
            groups = next(n for n in range(min(GROUPS, max(1, channels // CHANNELS)), 0, -1) if channels % n == 0)
            made = GroupNormAct if activates else nn.GroupNorm
            setattr(model, name, replaced := made(groups, channels, module.eps, affine=module.affine))
            for kept, part in module.named_children():
                replaced.add_module(kept, part)
        else:
            with_group_norm(module)
    return model


def with_sync_norm(model: M) -> M:
    """Replaces every batch norm of a model by one over all processes, in place. Its weights and its parts stay.

    Args:
        model: The model; not itself a batch norm.

    Returns:
        `model`.

    Raises:
        ValueError: A batch norm computes something besides that is not a dropout and an activation.
    """
    norms = {name: part for name, part in model.named_modules() if isinstance(part, _Batch)}
    activate = [name for name, norm in norms.items() if _activates(norm)]
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    for name in activate:
        model.get_submodule(name).__class__ = SyncBatchNormAct  # PyTorch keeps the parts, and would not call them
    return model


def _activates(norm: _Batch) -> bool:
    """Whether a batch norm has a dropout and an activation. Raises ValueError if it computes something else."""
    if type(norm).forward in (_Batch.forward, nn.SyncBatchNorm.forward, CaffeBatchNorm.forward):
        return False
    if [name for name, _ in norm.named_children()] == ["drop", "act"]:  # as timm has it
        return True
    raise ValueError(
        f"{type(norm).__name__} is a batch norm that computes something else besides, which would be lost; take an "
        "encoder with PyTorch's batch norms, or leave this setting out"
    )
