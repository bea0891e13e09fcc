"""What all engines share: they take the windows of a batch, and give its tuples on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch

from vidssl.kernels.assemble import DType
from vidssl.kernels.joint import Spec
from vidssl.loader.sampler import Sampler
from vidssl.loader.windows import FetchedWindow, OutputSlot


class Output(NamedTuple):
    """A batch on the device: clips [B, K, 3, T, h, w], label int64 and status int32 [B], of several tasks [B, tasks].

    position: int64 [B, K, T], the shown frames, counted from the window's first frame.
    """

    clips: torch.Tensor
    label: torch.Tensor
    position: torch.Tensor
    status: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an engine makes.

    Args:
        spec: The task's table, or those of several.
        sampler: For the random draws of plans that need motion, and the tuples per window.
        device: Of the batch.
        dtype: Of the clips.
        channels_last: Store the clips in the memory order [B, K, T, h, w, 3]; their shape does not change.
        windows: Most windows of a batch.
        threads: Threads of an engine that computes on the CPU.
    """

    spec: Spec
    sampler: Sampler
    device: torch.device
    dtype: DType
    channels_last: bool
    windows: int
    threads: int


W = TypeVar("W", bound=FetchedWindow)


class Engine(ABC, Generic[W]):
    """Makes batches of windows of kind W.

    push() takes the windows of one batch and starts to make it; pull() returns it. At most one batch is pending.
    """

    fallbacks: int = 0  # windows that the decoder in the graph took, and then failed on
    _pushed: Sequence[W] | None = None  # the windows of the pending batch

    @property
    def pending(self) -> bool:
        """True if a batch was pushed and is not pulled yet."""
        return self._pushed is not None

    def output_slots(self, windows: int) -> Sequence[OutputSlot | None]:
        """Returns where the workers write the clips of each window of the next batch; None if this engine assembles."""
        return [None] * windows

    @abstractmethod
    def push(self, windows: Sequence[W]) -> None:
        """Takes the windows of a batch, and starts to make it."""

    @abstractmethod
    def pull(self) -> Output:
        """Returns the pending batch."""

    def close(self) -> None:
        """Drops the pending batch and frees what the engine holds."""
        self._pushed = None

    def _taken(self) -> Sequence[W]:
        """Returns the pending windows, which are then no longer pending."""
        assert self._pushed is not None
        windows, self._pushed = self._pushed, None
        return windows


def as_tuples(clips: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Returns clips [windows, tuples * K, ...] as [B, K, 3, T, h, w]."""
    spec = settings.spec
    clips = clips.reshape(-1, spec.slots, *clips.shape[2:])
    return clips.permute(0, 1, 5, 2, 3, 4) if settings.channels_last else clips


def per_tuple(values: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Returns labels or status of all tuples, in order, as [B], or as [B, tasks] of several tasks."""
    tasks = len(settings.spec.parts)
    return values.reshape(-1) if tasks == 1 else values.reshape(-1, tasks)
