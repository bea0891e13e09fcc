"""plan: draws the frames of a tuple, their crops and colours, and its label. Source: csrc/kernels/plan.h.

It is long because a spec describes and checks every part of a task.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidssl.arrays import device_of, empty_like, stream_of, to_kind
from vidssl.checks import MAX_SIDE, is_size, is_whole, is_word
from vidssl.kernels.augment import SCOPES, Augment, need, numbers
from vidssl.kernels.motion import Motion
from vidssl.native import kernels
from vidssl.types import MAX_FRAMES, Array, Plan

_DRAWS = {"chain": 0, "free": 1}
_WEIGHTS = {"uniform": 0, "motion": 1}
MAX_BASES, MAX_LIMITS, MAX_TRIES, MAX_SHOWN, MAX_PLACES = 64, 8, 10_000, 2**20, 2**30  # as in plan.h
MAX_TABLE = 2**24  # numbers in a table; each is checked
MAX_CLASSES = 2**24  # the head has an output for each label up to the largest
_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanSpec:
    """A pretext task as a table.

    A window holds groups x bases "bases". A base is a run of `length` frames that are `stride` frames apart. The frames
    of all bases are the pool. Frame t of a base has the pool number (group * bases + base) * length + t.

    Args:
        arrangements: int [P, K, T], the table. Row p holds the pool number that slot k shows at time t. Each row is
            drawn with the same probability; repeat a row to give it more weight. With a grid of cells, the entry is
            cell * pool + number, where pool is the number of frames of the pool; cells are counted row by row.
        labels: int [P], the class of each row, 0 or more.
        groups: Number of groups. Each group draws its own bases.
        bases: Number of bases in a group.
        length: Number of frames of a base.
        stride: Distance between neighbouring frames of a base, in frames of the video.
        draw: "chain" places the bases one after another with gap[0]..gap[1] unused frames between them. "free" draws
            them without replacement and sorts them; they may overlap.
        gap: (min, max) number of unused frames between two bases, for "chain".
        weight: "uniform" draws each start with the same probability. "motion" draws a start in proportion to the motion
            within the frames that it covers.
        limits: Rows (i, j, min, max): base j must start min..max frames after base i.
        distinct: Pairs (i, j) of bases. The 16 x 16 thumbnails of their first frames must differ.
        distinct_min: Smallest sum of squared differences by which these thumbnails must differ.
        tries: Number of draws to meet `limits` and `distinct`. If all fail, the plan's status is not 0.
        window: Number of frames of a window. None uses the smallest number that can hold the bases, "video" the whole
            video.
        windows: How training draws the first frame of a window. "even" draws each with the same probability. "motion"
            draws it in proportion to the change of luma within the window, which the index measured.
        grid: (rows, columns) of cells into which the resized picture, or the region, is divided. Each crop lies in the
            cell that the table names. Rows and columns of pixels that the grid does not divide belong to no cell.
        augment: Settings of crop, flip and colour.

    Raises:
        VidsslError: A value has a wrong type or shape, or is out of its range.
    """

    arrangements: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    groups: int = 1
    bases: int
    length: int = 1
    stride: int = 1
    draw: Literal["chain", "free"] = "chain"
    gap: tuple[int, int] = (0, 0)
    weight: Literal["uniform", "motion"] = "uniform"
    limits: tuple[tuple[int, int, int, int], ...] = ()
    distinct: tuple[tuple[int, int], ...] = ()
    distinct_min: int = 0
    tries: int = 10
    window: int | Literal["video"] | None = None
    windows: Literal["even", "motion"] = "even"
    grid: tuple[int, int] = (1, 1)
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrangements", self._table("arrangements", np.int32, _MOST))
        object.__setattr__(self, "labels", self._table("labels", np.int64, MAX_CLASSES - 1))
        rows, labels = self.arrangements, self.labels
        self._need(rows.ndim == 3 and rows.size > 0, "arrangements.shape", rows.shape, "take [P, K, T]")
        fix = f"take one label a row: ({rows.shape[0]},)"
        self._need(labels.shape == rows.shape[:1], "labels.shape", labels.shape, fix)
        self._need(isinstance(self.augment, Augment), "augment", self.augment, "pass an Augment")
        self._check_counts()
        self._check_draws()
        most = self.window is None or is_word(self.window, ("video",)) or is_whole(self.window, self.span, _MOST)
        fix = f'the bases need {self.span} frames; take at least {self.span}, None or "video"'
        self._need(most, "window", self.window, fix)
        self._need(is_word(self.windows, ("even", "motion")), "windows", self.windows, 'take "even" or "motion"')
        one = self.windows == "motion" and self.window == "video"
        self._need(not one, "windows", self.windows, 'the whole video is the only window; take "even"')

    def _need(self, good: bool, argument: str, value: object, fix: str) -> None:
        need(good, "PlanSpec", argument, value, fix)

    def _table(self, name: str, kind: type[np.integer[Any]], most: int) -> npt.NDArray[Any]:
        """Returns a table of numbers in 0..most as a contiguous array of the type that the kernels read."""
        try:
            values = np.asarray(getattr(self, name))
        except ValueError:  # lists of unequal lengths
            values = np.empty((), object)
        self._need(values.size <= MAX_TABLE, f"{name}.shape", values.shape, f"take at most {MAX_TABLE} numbers")
        whole = values.dtype.kind in "iu"
        if values.dtype.kind == "f":
            whole = bool(np.isfinite(values).all()) and bool((values % 1 == 0).all())
        self._need(whole, name, values.dtype.name, "take whole numbers")
        ends = (int(values.min()), int(values.max())) if values.size else (0, 0)
        self._need(ends[0] >= 0 and ends[1] <= most, name, ends, f"take numbers in 0..{most}")
        return np.ascontiguousarray(values, dtype=kind)

    def _check_counts(self) -> None:
        """Checks the numbers of bases and frames, and that the table holds only numbers of the pool."""
        for name in ("groups", "bases", "length", "stride", "tries"):
            value, most = getattr(self, name), MAX_TRIES if name == "tries" else MAX_PLACES
            self._need(is_whole(value, 1, most), name, value, f"take a whole number, at least 1, at most {most}")
            object.__setattr__(self, name, int(value))
        bases, rows = self.groups * self.bases, self.arrangements
        self._need(bases <= MAX_BASES, "groups * bases", bases, f"take at most {MAX_BASES}")
        fits = self.slots * self.times <= MAX_SHOWN
        self._need(fits, "arrangements.shape", rows.shape, f"take K * T of at most {MAX_SHOWN}")
        self._check_grid()
        pool, ends = bases * self.length, (int(rows.min()), int(rows.max()))
        entries = pool * self.grid[0] * self.grid[1]
        fix = f"pool numbers are 0..{pool - 1}" if entries == pool else f"take cell * {pool} + number, 0..{entries - 1}"
        self._need(ends[0] >= 0 and ends[1] < entries, "arrangements", ends, fix)
        fits = numbers(self.gap, 2, int) and 0 <= self.gap[0] <= self.gap[1]
        self._need(fits, "gap", self.gap, "take whole numbers (min, max) with 0 <= min <= max")
        taken = max(pool, self.bases * ((self.length - 1) * self.stride + 1 + self.gap[1]))
        fix = f"the bases take up {taken} frames; take fewer than {MAX_PLACES}"
        given = (self.bases, self.length, self.stride, self.gap)
        self._need(taken <= MAX_PLACES, "bases, length, stride, gap", given, fix)

    def _check_grid(self) -> None:
        """Checks that a crop fits into each cell, and that the entries of the table fit into an int32."""
        whole, crop = self.augment.region or self.augment.surely, self.augment.crop
        fits = numbers(self.grid, 2, int) and min(self.grid) >= 1
        fits = fits and crop[0] <= whole[0] // self.grid[0] and crop[1] <= whole[1] // self.grid[1]
        fix = f"take (rows, columns), at least 1, of cells of {whole} into which crops of {crop} fit"
        self._need(fits, "grid", self.grid, fix)
        entries = self.groups * self.bases * self.length * self.grid[0] * self.grid[1]
        fix = f"the frames of all cells are {entries}; take at most {MAX_PLACES}"
        self._need(entries <= MAX_PLACES, "grid", self.grid, fix)

    def _check_draws(self) -> None:
        """Checks how bases are drawn, and the conditions that a draw must meet."""
        self._need(is_word(self.draw, _DRAWS), "draw", self.draw, 'take "chain" or "free"')
        self._need(is_word(self.weight, _WEIGHTS), "weight", self.weight, 'take "uniform" or "motion"')
        fits = is_whole(self.distinct_min, 0, 2**32 - 1)
        self._need(fits, "distinct_min", self.distinct_min, "take a whole number in 0..2**32 - 1")
        for name, count in (("limits", 4), ("distinct", 2)):
            entries = getattr(self, name)
            self._need(isinstance(entries, tuple | list), name, entries, f"take a tuple of rows of {count} numbers")
            self._need(len(entries) <= MAX_LIMITS, name, entries, f"take at most {MAX_LIMITS}")
            for entry in entries:
                fits = numbers(entry, count, int) and all(abs(n) <= _MOST for n in entry)
                self._need(fits, name, entry, f"take {count} whole numbers")
                fits = 0 <= entry[0] < entry[1] < self.bases
                self._need(fits, name, entry, f"bases are 0 <= i < j < {self.bases}")

    @property
    def parts(self) -> tuple[PlanSpec, ...]:
        """The tables of the tasks that share a window: this one."""
        return (self,)

    @property
    def slots(self) -> int:
        """Slots of a tuple, K."""
        return int(self.arrangements.shape[1])

    @property
    def times(self) -> int:
        """Frames that a slot shows, T."""
        return int(self.arrangements.shape[2])

    @property
    def classes(self) -> int:
        """Number of classes: the largest label plus one."""
        return int(self.labels.max()) + 1

    @property
    def span(self) -> int:
        """Smallest number of frames that can hold the bases."""
        extent = (self.length - 1) * self.stride + 1
        if self.draw == "chain":
            return self.bases * extent + (self.bases - 1) * self.gap[1]
        return self.bases - 1 + extent

    @property
    def frames(self) -> int:
        """Smallest number of frames of a window. A video must have at least as many.

        All windows have exactly this many frames unless `window` is "video".
        """
        return self.span if self.window is None or isinstance(self.window, str) else self.window

    @property
    def needs_motion(self) -> bool:
        """True if frames must be decoded before a plan can be drawn."""
        return self.reads_sad or bool(self.distinct)

    @property
    def reads_sad(self) -> bool:
        """True if the choice of frames or of the region depends on `Motion.sad`."""
        return self.weight == "motion" or self.augment.region is not None

    @cached_property
    def text(self) -> str:
        """The text that the kernels read, see csrc/kernels/spec.h. It does not hold the two tables."""
        a = self.augment
        values: dict[str, Any] = {
            "groups": self.groups,
            "bases": self.bases,
            "length": self.length,
            "stride": self.stride,
            "draw": _DRAWS[self.draw],
            "gap": self.gap,
            "weight": _WEIGHTS[self.weight],
            "tries": self.tries,
            "distinct_min": self.distinct_min,
            "table": self.arrangements.shape,
            "resize": a.resize,
            "region": a.region or (0, 0),
            "crop": a.crop,
            "crop_scope": SCOPES[a.crop_scope],
            "jitter": a.jitter,
            "flip": a.flip,
            "flip_scope": SCOPES[a.flip_scope],
            "brightness": a.brightness,
            "contrast": a.contrast,
            "saturation": a.saturation,
            "grey": a.grey,
            "split": a.split,
            "color_scope": SCOPES[a.color_scope],
            "mean": a.mean,
            "std": a.std,
        }
        words = [
            f"{key}={','.join(map(str, value)) if isinstance(value, tuple | list) else value}"
            for key, value in values.items()
        ]
        words += [
            f"{key}={';'.join(','.join(map(str, row)) for row in getattr(self, key))}" for key in ("limits", "distinct")
        ]
        # What is off is left out, so that the text of all other tasks, by which runs are resumed, stays the same.
        if self.grid != (1, 1):
            words.append(f"grid={self.grid[0]},{self.grid[1]}")
        words += [f"short_side={a.short_side}"] if a.short_side is not None else []
        if a.crop_area is not None:
            cut = {"crop_area": a.crop_area, "crop_aspect": a.crop_aspect}
            words += [f"{key}={low},{high}" for key, (low, high) in cut.items()]
        words += [f"hue={a.hue}"] if a.hue > 0 else []
        return " ".join(words)

    @cached_property
    def _tables(self) -> dict[str, tuple[Array, Array]]:
        return {}

    def tables(self, like: Array) -> tuple[Array, Array]:
        """Returns (arrangements, labels) as arrays of the library and device of `like`. Each device gets one upload."""
        key = f"{type(like).__module__} {getattr(like, 'device', 'cpu')}"
        if key not in self._tables:
            self._tables[key] = (to_kind(self.arrangements, like), to_kind(self.labels, like))
        return self._tables[key]


def own_colors(plan: Plan) -> Plan:
    """Returns the plan without colour changes and normalisation. plan: numpy arrays."""
    color = np.zeros_like(plan.color)
    color[..., :3] = np.eye(3, dtype=np.float32)
    return plan._replace(color=color)


_HOST = np.empty(0)


def plan(
    spec: PlanSpec,
    *,
    frames: int,
    size: tuple[int, int],
    seed: int,
    epoch: int,
    sample: int,
    train: bool = True,
    sad: Array | None = None,
    thumb: Array | None = None,
    like: Array | None = None,
) -> Plan:
    """Draws one tuple. The result depends only on the arguments; CPU and GPU draw the same integers.

    Args:
        spec: The pretext as a table.
        frames: Number of frames of the window.
        size: (height, width) of the window's picture in pixels.
        seed: Seed of all draws, in 0..2**64 - 1.
        epoch: Number of the epoch, in 0..2**32 - 1.
        sample: Position of the tuple in the epoch, in 0..2**64 - 1.
        train: False uses the centre crop, and no flip, jitter or colour change.
        sad: `Motion.sad` of the window. Required if spec.reads_sad.
        thumb: `Motion.thumb` of the window. Required if spec.distinct is not empty.
        like: Array whose library and device the result gets. None uses those of `sad`, or else numpy.

    Returns:
        The plan. `status` is 0 if it meets the spec. It is 1 if no try met `limits`, and 2 if no try found frames that
        differ enough; the plan is then that of the last try.

    Raises:
        VidsslError: The window is too short, a number is out of its range, or an array is missing or has a wrong type
            or shape.
    """
    need(isinstance(spec, PlanSpec), "plan", "spec", spec, "pass a PlanSpec")
    most = MAX_FRAMES if spec.needs_motion else _MOST
    fix = f"this spec needs a window of at least {spec.span} frames, at most {most}"
    need(is_whole(frames, spec.span, most), "plan", "frames", frames, fix)
    need(is_size(size), "plan", "size", size, f"take (height, width) in 1..{MAX_SIDE}")
    need(is_whole(epoch, 0, 2**32 - 1), "plan", "epoch", epoch, "take 0 <= epoch < 2**32")
    for name, value in (("seed", seed), ("sample", sample)):
        need(is_whole(value, 0, 2**64 - 1), "plan", name, value, "take a whole number in 0..2**64 - 1")
    need(isinstance(train, bool | np.bool_), "plan", "train", train, "take True or False")
    like = like if like is not None else sad if sad is not None else _HOST
    slots, times = spec.slots, spec.times
    out = Plan(
        frame=empty_like(like, (slots, times), "int32"),
        box=empty_like(like, (slots, times, 4), "float32"),
        flip=empty_like(like, (slots,), "uint8"),
        color=empty_like(like, (slots, times, 3, 4), "float32"),
        label=empty_like(like, (), "int64"),
        status=empty_like(like, (), "int32"),
    )
    scratch = empty_like(like, (kernels.plan_scratch(frames, *size),), "uint64") if spec.reads_sad else None
    with device_of(like):
        kernels.plan(
            spec.text,
            *spec.tables(like),
            frames,
            *size,
            sad,
            thumb,
            scratch,
            seed,
            epoch,
            sample,
            train,
            *out,
            stream=stream_of(like),
        )
    return out


def plan_many(
    spec: PlanSpec,
    *,
    windows: npt.NDArray[np.int32],
    seed: int,
    epoch: int,
    samples: npt.NDArray[np.uint64],
    train: bool = True,
    score: Motion | None = None,
    places: npt.NDArray[np.int64] | None = None,
) -> Plan:
    """Draws many tuples at once.

    Args:
        spec: The pretext as a table.
        windows: int32 [N, 3], number of frames, height and width of the window of each tuple; of one size if the plan
            depends on motion.
        seed: As in `plan`.
        epoch: As in `plan`.
        samples: uint64 [N], position of each tuple in the epoch.
        train: As in `plan`.
        score: The motion of several windows, joined (`motion_many`); its device is that of the result. None if the plan
            does not depend on motion: the result is then in host memory.
        places: int64 [N, 2], the first row of each tuple's window in `score.sad` and in `score.thumb`. None: 0, as for
            tuples of one window.

    Returns:
        The plans that N calls of `plan` return, joined: slots [N * K], label and status [N].

    Raises:
        VidsslError: As `plan`.
    """
    fix = f"this spec needs windows of at least {spec.span} frames"
    least = int(windows[:, 0].min(initial=spec.span))
    need(least >= spec.span, "plan_many", "windows", least, fix)
    count, slots, times = len(samples), spec.slots, spec.times
    like = _HOST if score is None else score.sad
    out = Plan(
        frame=empty_like(like, (count * slots, times), "int32"),
        box=empty_like(like, (count * slots, times, 4), "float32"),
        flip=empty_like(like, (count * slots,), "uint8"),
        color=empty_like(like, (count * slots, times, 3, 4), "float32"),
        label=empty_like(like, (count,), "int64"),
        status=empty_like(like, (count,), "int32"),
    )
    scratch = None
    if spec.reads_sad:
        shapes = Counter(map(tuple, windows.tolist()))  # np.unique is slow for few
        needed = sum(kernels.plan_scratch(*shape) * number for shape, number in shapes.items())
        scratch = empty_like(like, (needed,), "uint64")
    with device_of(like):
        kernels.plan_many(
            spec.text,
            *spec.tables(like),
            windows,
            np.zeros((len(windows), 2), np.int64) if places is None else places,
            None if score is None else score.sad,
            None if score is None else score.thumb,
            scratch,
            samples,
            seed,
            epoch,
            train,
            *out,
            stream=stream_of(like),
        )
    return out
