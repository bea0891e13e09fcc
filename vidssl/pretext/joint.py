"""Joint: several tasks at once. One window is decoded, one encoder sees the clips of all, and each task has a head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from vidssl.kernels.augment import Augment
from vidssl.kernels.joint import JointSpec
from vidssl.kernels.plan import PlanSpec
from vidssl.pretext.base import Objective, Pretext
from vidssl.pretext.registry import CODE, METHODS, import_pretext
from vidssl.types import VidsslError

JOINED_BY = "+"  # between the names of the tasks, in the name of a joint one


class JointHead(nn.Module):
    """Maps the features [B, K, D] of a joint tuple's slots to logits [B, classes of all tasks].

    Each head sees the slots of its own task, so the loss of a task moves no other head.

    Args:
        heads: The head of each task.
        slots: Slots of each task; they follow each other in the features, as the logits do.
    """

    def __init__(self, heads: Mapping[str, nn.Module], slots: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.slots = nn.ModuleDict(heads), list(slots)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features [B, K, D] to logits [B, classes]."""
        parts = torch.split(features, self.slots, dim=1)
        return torch.cat([head(part) for head, part in zip(self.heads.values(), parts, strict=True)], dim=1)


@dataclass(frozen=True, kw_only=True)
class Joint(Pretext):
    """Several tasks at once, on tuples that are drawn from the same window.

    Args:
        tasks: The tasks, each of another name. One encoder takes the clips of all of them, so these have the same
            number of frames and the same encoding.
        weights: Factor of the loss of each task; () is 1 for each.
        augment: How to resize, crop, flip, colour and normalise the frames of all tasks, in the place of their own
            settings. Its draws differ from task to task.

    Raises:
        VidsslError: The tasks cannot be joined; the message names the task and the fix.
    """

    tasks: tuple[Pretext, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        fix = "take two tasks or more, each of another name"
        if len(names) < 2 or len(set(names)) < len(names):
            raise VidsslError(f"joint: tasks={names}: {fix}")
        if any(isinstance(task, Joint) for task in self.tasks):
            raise VidsslError(f"joint: tasks={names}: name the single tasks, not a joint one")
        good = all(math.isfinite(weight) and weight > 0 for weight in self.weights)
        if not good or len(self.weights) not in (0, len(names)):
            raise VidsslError(f"joint: weights={self.weights!r}: take {len(names)} numbers > 0, one for each task")
        own = {  # of this object, where other tasks have them of their class
            "tasks": tuple(replace(task, augment=self.augment) for task in self.tasks),
            "name": JOINED_BY.join(names),
            "plain_biases": tuple(f"heads.{task.name}.{bias}" for task in self.tasks for bias in task.plain_biases),
        }
        for key, value in own.items():
            object.__setattr__(self, key, value)
        self._check_encoding(self.plan.times)  # the plan checks the tables

    def _check_encoding(self, times: int) -> None:
        """Raises VidsslError if a task encodes clips [1, 3, times, H, W] in another way than the first one."""
        shown = torch.rand(1, 3, times, 4, 4, generator=torch.Generator().manual_seed(0))
        first, *others = self.tasks
        wanted = first.encode(shown)
        for other in others:
            found = other.encode(shown)
            if found.shape != wanted.shape or not torch.equal(found, wanted):
                raise VidsslError(
                    f"joint: {other.name} shows the encoder another encoding of a clip than {first.name} (channels x "
                    f"frames {found.shape[1]} x {found.shape[2]} and {wanted.shape[1]} x {wanted.shape[2]}), and one "
                    "encoder cannot take both; leave one out, or give both the same encoding"
                )

    @cached_property
    def plan(self) -> Any:
        """The tables of the tasks: a JointSpec, which has what a loader needs of a PlanSpec."""
        return JointSpec(tasks={task.name: task.plan for task in self.tasks})

    def table(self) -> PlanSpec:
        """A joint task has one table for each of its tasks, see `plan`."""
        raise VidsslError(f"{self.name}: it has no table of its own; take `plan`, or the table of one of its tasks")

    def head(self, features: int) -> nn.Module:
        """Make the head of every task."""
        heads = {task.name: task.head(features) for task in self.tasks}
        return JointHead(heads, [task.plan.slots for task in self.tasks])

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Encode clips as all the tasks do."""
        return self.tasks[0].encode(clips)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the heads tell apart."""
        weights = self.weights or (1.0,) * len(self.tasks)
        return tuple(
            Objective(task.name, task.class_names, task.chance, weight)
            for task, weight in zip(self.tasks, weights, strict=True)
        )

    @property
    def class_names(self) -> list[str]:
        """The classes of all tasks, in the order of the logits, each with the name of its task."""
        return [title for one in self.objectives for title in one.titles()]

    @property
    def chance(self) -> float:
        """A joint task has a chance for each of its tasks, see `objectives`."""
        raise VidsslError(f"{self.name}: it has no single chance; take that of each of its objectives")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings, those of each task under its name, and `augment` once."""
        tasks = {task.name: _without_augment(task.as_dict()) for task in self.tasks}
        return {"augment": asdict(self.augment), "tasks": tasks, "weights": self.weights}


def pretext_code(name: str) -> dict[str, str]:
    """Return the code of each task of this name that was imported by its code, by the task's own name."""
    return {task: CODE[task] for task in name.split(JOINED_BY) if task in CODE}


def pretext_from(name: str, settings: Mapping[str, Any]) -> Pretext:
    """Make the task whose `name` and `as_dict` these are.

    Raises:
        VidsslError: No task of this name is known.
        KeyError, TypeError, AttributeError: The settings are not those of this version.
    """
    for task in name.split(JOINED_BY):
        if task not in METHODS:
            raise VidsslError(
                f"pretext={task!r}: no task of this name is known here; import the module that registers it first, in "
                "Python, or train with --pretext module:Class, which the run then records"
            )
    own = {**settings, "augment": Augment(**settings["augment"])}
    if JOINED_BY in name:
        tasks = tuple(METHODS[task](**its) for task, its in settings["tasks"].items())
        return Joint(**{**own, "tasks": tasks})
    return METHODS[name](**own)


def join(pretext: Pretext, names: Sequence[str], weights: Sequence[float] = ()) -> Pretext:
    """Make several tasks, which are solved together, from the settings of one.

    Args:
        pretext: A task. It stays as it is; others take the settings that they share with it, and their own defaults.
        names: Names of the tasks in METHODS, or the code of their classes: module:Class or path/to/file.py:Class. A
            single one is not joined to any.
        weights: Factor of the loss of each; () is 1 for each.

    Raises:
        VidsslError: A name is not known, code cannot be imported, or the tasks cannot be joined.
    """
    names = [import_pretext(name).name if ":" in name else name for name in names]
    if unknown := [name for name in names if name not in METHODS]:
        raise VidsslError(f"pretext={','.join(names)}: {unknown[0]!r} is not known; take some of {', '.join(METHODS)}")
    shared = {one.name: getattr(pretext, one.name) for one in fields(pretext)}
    tasks = tuple(pretext if name == pretext.name else _with_settings(METHODS[name], shared) for name in names)
    if len(tasks) == 1 and not weights:
        return tasks[0]
    return Joint(tasks=tasks, weights=tuple(weights), augment=pretext.augment)


def _without_augment(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "augment"}


def _with_settings(method: type[Pretext], settings: Mapping[str, Any]) -> Pretext:
    return method(**{one.name: settings[one.name] for one in fields(method) if one.name in settings})
