"""inline: the workers make all clips, directly in the batch. On the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from vidssl.loader.buffers import Buffers
from vidssl.loader.engines.base import Engine, Output, Settings, as_tuples, per_tuple
from vidssl.loader.windows import AssembledWindow, OutputSlot
from vidssl.types import Plan, VidsslError


class Inline(Engine[AssembledWindow]):
    """Gives the workers the memory of the next batch, and returns what they wrote."""

    def __init__(self, settings: Settings) -> None:
        if settings.device.type != "cpu":
            raise VidsslError(f'engine="inline": device={settings.device}: it works on the CPU; take "auto" or "dali"')
        self.settings = settings
        spec = settings.spec
        self._type: torch.dtype = getattr(torch, settings.dtype)
        picture = (spec.times, *spec.augment.crop, 3) if settings.channels_last else (3, spec.times, *spec.augment.crop)
        self._shape = (settings.windows, settings.sampler.tuples * spec.slots, *picture)
        self._buffers = Buffers(prod(self._shape) * self._type.itemsize)

    def output_slots(self, windows: int) -> Sequence[OutputSlot | None]:
        memory, used = self._buffers.take()
        batch = memory.view(self._type).view(self._shape)[:windows]
        return [
            OutputSlot(batch=batch, at=at, channels_last=self.settings.channels_last, used_before=used)
            for at in range(windows)
        ]

    def push(self, windows: Sequence[AssembledWindow]) -> None:
        self._pushed = windows

    def pull(self) -> Output:
        windows = self._taken()
        spec = self.settings.spec
        plans: list[Plan] = [window.request.plan for window in windows if window.request.plan is not None]
        position = np.concatenate([window.request.positions() for window in windows])
        return Output(
            clips=as_tuples(windows[0].slot.batch, self.settings),
            label=per_tuple(torch.from_numpy(np.concatenate([plan.label for plan in plans])), self.settings),
            position=torch.from_numpy(position).reshape(-1, spec.slots, spec.times),
            status=per_tuple(torch.from_numpy(np.concatenate([plan.status for plan in plans])), self.settings),
        )
