"""Replaces batch norm with group norm, which normalises each clip independently of the others in its batch.

Source: Wu, He, "Group Normalization", ECCV 2018.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

# At most 32 groups, and at least 16 channels per group, as in the paper. A group of only two channels would keep little
# but signs.
GROUPS, CHANNELS = 32, 16
M = TypeVar("M", bound=nn.Module)
_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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
