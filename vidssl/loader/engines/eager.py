"""eager: calls motion, plan and assemble one by one. It is easier to read and to debug than the DALI graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vidssl.kernels.assemble import Layout, assemble
from vidssl.kernels.joint import part_sample
from vidssl.kernels.motion import Motion, motion
from vidssl.kernels.plan import plan
from vidssl.loader.engines.base import Engine, Output, Settings, as_tuples, per_tuple
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
            label=per_tuple(torch.cat(label), self.settings),
            position=torch.cat(position).reshape(-1, spec.slots, spec.times),
            status=per_tuple(torch.cat(status), self.settings),
        )

    def _window(self, window: DecodedWindow) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        settings, request = self.settings, window.request
        data = np.require(window.frames.data, requirements="W")  # torch takes no read-only memory, as a store's is
        frames = replace(window.frames, data=torch.from_numpy(data).to(settings.device))
        if request.plan is None:
            score = motion(frames)
            joined = _join([one for sample in request.samples for one in self._plans(request, frames, sample, score)])
            position = joined.frame.long()
        else:
            joined = Plan(*(torch.from_numpy(part).to(settings.device) for part in request.plan))
            position = torch.from_numpy(request.positions()).to(settings.device)
        layout: Layout = "kthwc" if settings.channels_last else "kcthw"
        crop = settings.spec.augment.crop
        clips = assemble(frames, joined, size=crop, dtype=settings.dtype, layout=layout, threads=settings.threads)
        return clips, joined.label, position, joined.status

    def _plans(self, request: Request, frames: Frames, sample: int, score: Motion) -> list[Plan]:
        """Draws the plan of every task of one tuple."""
        spec, sampler = self.settings.spec, self.settings.sampler
        return [
            plan(
                part,
                frames=request.window.span,
                size=frames.size,
                seed=sampler.seed,
                epoch=sampler.draw_epoch(request.epoch),
                sample=part_sample(spec, sample, at),
                train=sampler.train,
                sad=score.sad,
                thumb=score.thumb,
            )
            for at, part in enumerate(spec.parts)
        ]


def _join(plans: Sequence[Plan]) -> Plan:
    return Plan(
        *(
            torch.cat([part.reshape(1) if part.ndim == 0 else part for part in parts])
            for parts in zip(*plans, strict=True)
        )
    )
