"""What the engines share: windows go in, tuples on the device come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch

from vidssl.kernels.assemble import DType
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.sampler import Sampler
from vidssl.loader.windows import FetchedWindow, OutputSlot


class Output(NamedTuple):
    """clips [B, K, 3, T, h, w] on the device; label int64 [B], position int64 [B, K, T] (within the window), status
    int32 [B].
    """

    clips: torch.Tensor
    label: torch.Tensor
    position: torch.Tensor
    status: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an engine makes of a window.

    windows: in a batch, at most. channels_last: the memory order is [B, K, T, h, w, 3]; the shape stays.
    """

    spec: PlanSpec
    sampler: Sampler
    device: torch.device
    dtype: DType
    channels_last: bool
    windows: int
    threads: int


W = TypeVar("W", bound=FetchedWindow)


class Engine(ABC, Generic[W]):
    """Makes batches of windows of kind W. push() takes the windows of one batch and starts on it, pull() gives it; one
    may be pending.
    """

    fallbacks: int = 0  # windows that a decoder in the engine was given and did not decode
    _pushed: Sequence[W] | None = None  # the windows of the pending batch

    @property
    def pending(self) -> bool:
        """Whether a batch was pushed and not pulled yet."""
        return self._pushed is not None

    def output_slots(self, windows: int) -> Sequence[OutputSlot | None]:
        """Where the workers write the clips of the next batch; None of them where this engine assembles."""
        return [None] * windows

    @abstractmethod
    def push(self, windows: Sequence[W]) -> None: ...

    @abstractmethod
    def pull(self) -> Output: ...

    def close(self) -> None:
        self._pushed = None

    def _taken(self) -> Sequence[W]:
        """The pending windows, which are then no longer pending."""
        assert self._pushed is not None
        windows, self._pushed = self._pushed, None
        return windows


def as_tuples(clips: torch.Tensor, settings: Settings) -> torch.Tensor:
    """[windows, tuples * K, ...] as [B, K, 3, T, h, w]."""
    spec = settings.spec
    clips = clips.reshape(-1, spec.slots, *clips.shape[2:])
    return clips.permute(0, 1, 5, 2, 3, 4) if settings.channels_last else clips
