"""eager: calls motion, plan and assemble one by one. It is easier to read and to debug than the DALI graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vidssl.kernels.assemble import Layout, assemble
from vidssl.kernels.motion import motion
from vidssl.kernels.plan import plan
from vidssl.loader.engines.base import Engine, Output, Settings, as_tuples
from vidssl.loader.windows import DecodedWindow, Request
from vidssl.types import Frames, Plan


class Eager(Engine[DecodedWindow]):
    """Makes one window after the other, in the thread that calls pull()."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def push(self, windows: Sequence[DecodedWindow]) -> None:
        self._pushed = windows

    def pull(self) -> Output:
        spec = self.settings.spec
        clips, label, position, status = zip(*(self._window(window) for window in self._taken()), strict=True)
        return Output(
            clips=as_tuples(torch.stack(clips), self.settings),
            label=torch.cat(label),
            position=torch.cat(position).reshape(-1, spec.slots, spec.times),
            status=torch.cat(status),
        )

    def _window(self, window: DecodedWindow) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        settings, request = self.settings, window.request
        data = np.require(window.frames.data, requirements="W")  # torch takes no read-only memory, as a store's is
        frames = replace(window.frames, data=torch.from_numpy(data).to(settings.device))
        if request.plan is None:
            score = motion(frames)
            joined = _join([self._plan(request, frames, sample, score.sad, score.thumb) for sample in request.samples])
            position = joined.frame.long()
        else:
            joined = Plan(*(torch.from_numpy(part).to(settings.device) for part in request.plan))
            position = torch.from_numpy(request.positions()).to(settings.device)
        layout: Layout = "kthwc" if settings.channels_last else "kcthw"
        crop = settings.spec.augment.crop
        clips = assemble(frames, joined, size=crop, dtype=settings.dtype, layout=layout, threads=settings.threads)
        return clips, joined.label, position, joined.status

    def _plan(self, request: Request, frames: Frames, sample: int, sad: torch.Tensor, thumb: torch.Tensor) -> Plan:
        sampler = self.settings.sampler
        return plan(
            self.settings.spec,
            frames=request.window.span,
            size=frames.size,
            seed=sampler.seed,
            epoch=sampler.draw_epoch(request.epoch),
            sample=sample,
            train=sampler.train,
            sad=sad,
            thumb=thumb,
        )


def _join(plans: Sequence[Plan]) -> Plan:
    return Plan(
        *(
            torch.cat([part.reshape(1) if part.ndim == 0 else part for part in parts])
            for parts in zip(*plans, strict=True)
        )
    )
