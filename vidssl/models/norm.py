"""Group norm in the place of batch norm: what it does to a clip depends on no other clip.

Source: Wu, He, "Group Normalization", ECCV 2018.
"""

from __future__ import annotations

from math import gcd
from typing import TypeVar

from torch import nn

GROUPS = 32  # at most; as in the paper
M = TypeVar("M", bound=nn.Module)
_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def with_group_norm(model: M) -> M:
    """`model` with every batch norm replaced, in place; scale and shift stay where there were some."""
    for name, module in model.named_children():
        if isinstance(module, _BATCH):
            setattr(model, name, nn.GroupNorm(gcd(GROUPS, module.num_features), module.num_features, module.eps, affine=module.affine))
        else:
            with_group_norm(module)
    return model
