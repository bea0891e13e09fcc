"""Group norm in the place of batch norm: what it does to a clip depends on no other clip.

Source: Wu, He, "Group Normalization", ECCV 2018.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

# groups at most, and channels of one at least, as in the paper: of two alone little but signs is left
GROUPS, CHANNELS = 32, 16
M = TypeVar("M", bound=nn.Module)
_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def with_group_norm(model: M) -> M:
    """`model` with every batch norm replaced, in place; scale and shift stay where there were some."""
    for name, module in model.named_children():
        if isinstance(module, _BATCH):
            channels = module.num_features
            groups = next(n for n in range(min(GROUPS, max(1, channels // CHANNELS)), 0, -1) if channels % n == 0)
            setattr(model, name, nn.GroupNorm(groups, channels, module.eps, affine=module.affine))
        else:
            with_group_norm(module)
    return model
