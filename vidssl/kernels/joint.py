"""joint: draws the tuples of several tasks from one window, each as if the task were alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from vidssl.arrays import empty_like
from vidssl.kernels.augment import Augment, need
from vidssl.kernels.plan import PlanSpec, plan_many
from vidssl.types import Array, Plan

_SAME = ("resize", "short_side", "crop", "mean", "std")  # settings of Augment on which the encoder's input depends


@dataclass(frozen=True, kw_only=True, eq=False)
class JointSpec:
    """Several tasks, as tables, that share a window. A joint tuple is one tuple of each; their slots follow each other.

    Where a task needs fewer frames than the window has, its bases are drawn from anywhere in the window.

    Args:
        tasks: Name of each task to its table. The slots of all tables have the same number of frames, and pictures of
            the same size and normalisation.

    Raises:
        VidsslError: The tables do not fit together; the message names the task and the fix.
    """

    tasks: Mapping[str, PlanSpec]

    def __post_init__(self) -> None:
        need(len(self.tasks) > 1, "joint", "tasks", tuple(self.tasks), "take two tasks or more")
        first, *others = self.tasks
        one = self.tasks[first]
        for name in others:
            other = self.tasks[name]
            fix = f"{first} shows {one.times} frames in a slot; give both the same number, or leave one out"
            need(other.times == one.times, f"joint: {name}", "frames of a slot", other.times, fix)
            for setting in _SAME:
                mine, its = getattr(other.augment, setting), getattr(one.augment, setting)
                fix = f"{first} has {its}; the encoder needs the same of both"
                need(mine == its, f"joint: {name}", f"augment.{setting}", mine, fix)
            fix = f"{first} has {one.windows!r}; one window serves both, so give both the same"
            need(other.windows == one.windows, f"joint: {name}", "windows", other.windows, fix)
        for name, other in self.tasks.items():
            fix = (
                f"its tuples must come from that many frames, but the joint window has "
                f"{'the whole video' if self.window == 'video' else self.frames}; make both the same, or leave it out"
            )
            alone = isinstance(other.window, int) and (self.window == "video" or other.window < self.frames)
            need(not alone, f"joint: {name}", "window", other.window, fix)

    @cached_property
    def parts(self) -> tuple[PlanSpec, ...]:
        """The tables, in order."""
        return tuple(self.tasks.values())

    @property
    def slots(self) -> int:
        """Slots of a joint tuple, K."""
        return sum(part.slots for part in self.parts)

    @property
    def times(self) -> int:
        """Frames that a slot shows, T."""
        return self.parts[0].times

    @property
    def stride(self) -> int:
        """Distance between frames, of the first task."""
        return self.parts[0].stride

    @property
    def span(self) -> int:
        """Smallest number of frames that can hold the bases of every task."""
        return max(part.span for part in self.parts)

    @property
    def frames(self) -> int:
        """Smallest number of frames of a window. A video must have at least as many."""
        return max(part.frames for part in self.parts)

    @property
    def window(self) -> int | Literal["video"] | None:
        """Number of frames of a window, as in PlanSpec: "video" if a task draws from the whole video."""
        if any(part.window == "video" for part in self.parts):
            return "video"
        return self.frames if any(part.window is not None for part in self.parts) else None

    @property
    def windows(self) -> Literal["even", "motion"]:
        """How training draws the first frame of a window."""
        return self.parts[0].windows

    @property
    def augment(self) -> Augment:
        """Settings of the first task; size and normalisation are those of all."""
        return self.parts[0].augment

    @property
    def needs_motion(self) -> bool:
        """True if frames must be decoded before the plan of some task can be drawn."""
        return any(part.needs_motion for part in self.parts)


Spec = PlanSpec | JointSpec


class HasPlan(Protocol):
    """The part of a pretext that the loader uses."""

    @property
    def plan(self) -> Spec: ...


def part_sample(spec: Spec, sample: int, at: int) -> int:
    """Returns the sample number of the draws of task `at` of a tuple, so that the draws of its tasks are independent.

    Of a single task, it is the tuple's own.
    """
    return sample * len(spec.parts) + at


def draw_plans(spec: Spec, *, samples: npt.NDArray[np.uint64], **how: Any) -> Plan:
    """Draws the tuples of every task.

    Args:
        spec: One task or several.
        samples: uint64 [N], sample number of each tuple.
        how: Other arguments of `plan_many`.

    Returns:
        The plans, joined: slots [N * K], those of one tuple's tasks follow each other; label and status [N * tasks].

    Raises:
        VidsslError: As `plan_many`.
    """
    count = np.uint64(len(spec.parts))
    plans = [plan_many(part, samples=samples * count + np.uint64(at), **how) for at, part in enumerate(spec.parts)]
    if len(plans) == 1:
        return plans[0]
    slots, one = [part.slots for part in spec.parts], [1] * len(plans)
    widths = Plan(frame=slots, box=slots, flip=slots, color=slots, label=one, status=one)
    return Plan(*(_interleave(parts, width) for parts, width in zip(zip(*plans, strict=True), widths, strict=True)))


def _interleave(parts: Sequence[Array], widths: Sequence[int]) -> Array:
    """Joins arrays [N * width, ...] of N tuples into one [N * sum of widths, ...], tuple by tuple."""
    count, rest = len(parts[0]) // widths[0], parts[0].shape[1:]
    out = empty_like(parts[0], (count, sum(widths), *rest), str(parts[0].dtype).removeprefix("torch."))
    end = 0
    for part, width in zip(parts, widths, strict=True):
        out[:, end : end + width] = part.reshape(count, width, *rest)
        end += width
    return out.reshape(count * sum(widths), *rest)
