"""The moving average of a model's weights (EMA), by PyTorch's AveragedModel."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Returns a copy of a model that follows it: each `update_parameters(model)` moves it by 1 - decay of the way.

    Running statistics of norms are averaged like weights; counters are copied. The first update copies all.
    """
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def move(average: Any, now: Any, count: Any) -> None:
        if average[0].is_floating_point():
            follow(average, now, count)
        else:
            for one, other in zip(average, now, strict=True):
                one.copy_(other)

    return AveragedModel(model, multi_avg_fn=move, use_buffers=True)
