"""What the engines, fused, graph and eager, share: windows in, tuples on the device out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vidssl.loader.worker import Fetched, Room
from vidssl.kernels.assemble import DType
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.sampler import Sampler


class Output(NamedTuple):
    """clips [B, K, 3, T, h, w] on the device; label int64 [B], place int64 [B, K, T] (in the window), status int32 [B]."""

    clips: torch.Tensor
    label: torch.Tensor
    place: torch.Tensor
    status: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is made of a window. channels_last: the memory order is [B, K, T, h, w, 3]; the shape stays."""

    spec: PlanSpec
    sampler: Sampler
    device: torch.device
    dtype: DType
    channels_last: bool
    windows: int  # in a batch, at most
    threads: int


class Engine(ABC):
    """push() takes the windows of one batch and starts on it, pull() gives it; one may be pending.

    rooms() is asked first: memory for the clips of each window, where they are to be assembled as they are decoded, or None of them.
    """

    _pushed: Sequence[Fetched] | None = None  # windows of the batch that is pending

    @property
    def pending(self) -> bool:
        return self._pushed is not None

    def rooms(self, windows: int) -> Sequence[Room | None]:
        return [None] * windows

    @abstractmethod
    def push(self, windows: Sequence[Fetched], rooms: Sequence[Room | None]) -> None: ...

    @abstractmethod
    def pull(self) -> Output: ...

    def close(self) -> None:
        self._pushed = None

    def _taken(self) -> Sequence[Fetched]:
        """The pending windows, which are then no longer pending."""
        assert self._pushed is not None
        windows, self._pushed = self._pushed, None
        return windows


def places(fetched: Fetched) -> npt.NDArray[np.int64]:
    """Positions in the window of the frames that a plan made on the host shows, int64 [tuples * K, T]."""
    assert fetched.plan is not None
    return np.asarray(fetched.number[fetched.plan.frame] - fetched.window.first)


def as_tuples(clips: torch.Tensor, setting: Setting) -> torch.Tensor:
    """[windows, tuples * K, ...] as [B, K, 3, T, h, w]."""
    spec = setting.spec
    clips = clips.reshape(-1, spec.slots, *clips.shape[2:])
    return clips.permute(0, 1, 5, 2, 3, 4) if setting.channels_last else clips
