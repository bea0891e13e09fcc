"""Norms that encoders and heads share: Caffe's batch norm, and group norm in the place of batch norm.

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
_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
FRACTION = 0.999  # Caffe's moving_average_fraction, which no published model of ours changes


class CaffeBatchNorm(nn.modules.batchnorm._BatchNorm):
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


def with_group_norm(model: M) -> M:
    """Replaces every batch norm of a model, in place.

    A group norm has a scale and a shift if the batch norm had them; they start at 1 and 0.

    Args:
        model: The model; not itself a batch norm.

    Returns:
        `model`.
    """
    for name, module in model.named_children():
        if isinstance(module, _BATCH):
            channels = module.num_features
            groups = next(n for n in range(min(GROUPS, max(1, channels // CHANNELS)), 0, -1) if channels % n == 0)
            setattr(model, name, nn.GroupNorm(groups, channels, module.eps, affine=module.affine))
        else:
            with_group_norm(module)
    return model
