"""On the CPU, for plans that need no motion: the workers that decode also assemble, straight into the batch."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from vidssl.loader.engines.base import Engine, Output, Setting, as_tuples, places
from vidssl.loader.worker import Fetched, Room
from vidssl.loader.buffers import Memory
from vidssl.types import VidsslError


class Fused(Engine):
    """Nothing is left to do here but to hand over what the workers wrote."""

    def __init__(self, setting: Setting) -> None:
        if setting.device.type != "cpu" or setting.spec.needs_motion:
            what = f"device={setting.device}" if setting.device.type != "cpu" else "a plan that depends on motion"
            raise VidsslError(f'engine="fused": it cannot serve {what}; take "auto", "graph" or "eager"')
        self.setting = setting
        spec = setting.spec
        self._type: torch.dtype = getattr(torch, setting.dtype)
        picture = (spec.times, *spec.augment.crop, 3) if setting.channels_last else (3, spec.times, *spec.augment.crop)
        self._shape = (setting.windows, setting.sampler.tuples * spec.slots, *picture)
        self._memory = Memory(prod(self._shape) * self._type.itemsize)
        self._rooms: Sequence[Room | None] = ()

    def rooms(self, windows: int) -> Sequence[Room | None]:
        memory, used = self._memory.take()
        batch = memory.view(self._type).view(self._shape)[:windows]
        return [Room(batch=batch, at=at, channels_last=self.setting.channels_last, used_before=used) for at in range(windows)]

    def push(self, windows: Sequence[Fetched], rooms: Sequence[Room | None]) -> None:
        self._pushed, self._rooms = windows, rooms

    def pull(self) -> Output:
        windows, rooms, self._rooms = self._taken(), self._rooms, ()
        assert rooms[0] is not None
        spec, plans = self.setting.spec, [fetched.plan for fetched in windows if fetched.plan is not None]
        place = np.concatenate([places(fetched) for fetched in windows])
        return Output(
            clips=as_tuples(rooms[0].batch, self.setting),
            label=torch.from_numpy(np.concatenate([plan.label for plan in plans])),
            place=torch.from_numpy(place).reshape(-1, spec.slots, spec.times),
            status=torch.from_numpy(np.concatenate([plan.status for plan in plans])),
        )

    def close(self) -> None:
        super().close()
        self._rooms = ()
