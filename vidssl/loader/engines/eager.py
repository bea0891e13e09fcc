"""The stages called one by one: the graph's readable twin, for debugging and parity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from vidssl.loader.engines.base import Engine, Output, Setting, as_tuples, places
from vidssl.loader.worker import Fetched, Room
from vidssl.kernels.assemble import Layout, assemble
from vidssl.kernels.motion import motion
from vidssl.kernels.plan import plan
from vidssl.types import Frames, Plan


class Eager(Engine):
    """One window after the other, in the thread that pulls."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def push(self, windows: Sequence[Fetched], rooms: Sequence[Room | None]) -> None:
        self._pushed = windows

    def pull(self) -> Output:
        spec = self.setting.spec
        windows = self._taken()
        clips, label, place, status = zip(*(self._window(fetched) for fetched in windows), strict=True)
        return Output(
            clips=as_tuples(torch.stack(clips), self.setting),
            label=torch.cat(label),
            place=torch.cat(place).reshape(-1, spec.slots, spec.times),
            status=torch.cat(status),
        )

    def _window(self, fetched: Fetched) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        setting = self.setting
        assert fetched.frames is not None
        frames = replace(fetched.frames, data=torch.from_numpy(fetched.frames.data).to(setting.device))
        if fetched.plan is None:
            score = motion(frames)
            joined = _join([self._plan(fetched, frames, sample, score.sad, score.thumb) for sample in fetched.samples])
            place = joined.frame.long()
        else:
            joined = Plan(*(torch.from_numpy(part).to(setting.device) for part in fetched.plan))
            place = torch.from_numpy(places(fetched)).to(setting.device)
        layout: Layout = "kthwc" if setting.channels_last else "kcthw"
        clips = assemble(
            frames, joined, size=setting.spec.augment.crop, dtype=setting.dtype, layout=layout, threads=setting.threads
        )  # fmt: skip
        return clips, joined.label, place, joined.status

    def _plan(self, fetched: Fetched, frames: Frames, sample: int, sad: torch.Tensor, thumb: torch.Tensor) -> Plan:
        sampler = self.setting.sampler
        return plan(
            self.setting.spec, frames=fetched.window.span, size=frames.size, seed=sampler.seed,
            epoch=sampler.draw_epoch(fetched.epoch), sample=sample, train=sampler.train, sad=sad, thumb=thumb,
        )  # fmt: skip


def _join(plans: Sequence[Plan]) -> Plan:
    return Plan(*(torch.cat([part.reshape(1) if part.ndim == 0 else part for part in parts]) for parts in zip(*plans, strict=True)))
