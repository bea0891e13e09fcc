"""plan: a pretext is a table. Which frames are shown, cut and coloured how, and the label. Source: csrc/kernels/plan.h."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from vidssl.arrays import device_of, empty_like, stream_of, to_kind
from vidssl.native import kernels
from vidssl.types import MAX_FRAMES, MAX_SIDE, Array, Plan, VidsslError

Scope = Literal["frame", "clip", "tuple"]
_SCOPES = {"frame": 0, "clip": 1, "tuple": 2}
_DRAWS = {"chain": 0, "free": 1}
_WEIGHTS = {"uniform": 0, "motion": 1}
MAX_BASES, MAX_LIMITS, MAX_TRIES, MAX_SHOWN, MAX_PLACES = 64, 8, 10_000, 2**20, 2**30  # as in plan.h
MAX_TABLE = 2**24  # numbers: all of them are looked at
MAX_COLOR = 1e6  # of mean and std, as in spec.cpp
_MOST = 2**31 - 1


def _need(good: bool, owner: str, argument: str, value: object, mend: str) -> None:
    if not good:
        raise VidsslError(f"{owner}: {argument}={value!r}: {mend}")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How every shown frame is cut and coloured. In evaluation: centre crop, no flip, no jitter, no colour change.

    Args:
        resize: (height, width) in pixels the whole picture is resized to; the aspect is not kept.
        region: (height, width) in resized pixels: only the part of this size is used in which the frames of the pool move most, found in
            steps of 16 pixels of the video; the centre where nothing moves. None uses the whole picture.
        crop: (height, width) in pixels then cut out of it; what the encoder sees.
        crop_scope: What shares one place of the crop: a "frame", a "clip" (slot) or the whole "tuple"; as the other scopes.
        jitter: Each frame moves by up to this many (resized) pixels an axis; an axis that would leave the picture (the region) stays.
        flip: Probability of mirroring a slot.
        flip_scope: What shares one draw of it, "clip" or "tuple".
        brightness: Factor drawn from 1 +- this.
        contrast: Factor drawn from 1 +- this; turns about mid grey.
        saturation: Factor drawn from 1 +- this.
        grey: Probability of grey.
        split: Probability of one channel copied into all three.
        color_scope: What shares one draw of the colours.
        mean: Of the [0, 1] picture, per channel; the encoder sees (x / 255 - mean) / std.
        std: See mean.
    """

    resize: tuple[int, int] = (128, 171)
    region: tuple[int, int] | None = None
    crop: tuple[int, int] = (112, 112)
    crop_scope: Scope = "clip"
    jitter: int = 0
    flip: float = 0.0
    flip_scope: Scope = "tuple"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    split: float = 0.0
    color_scope: Scope = "frame"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("crop_scope", "flip_scope", "color_scope"):
            _need(getattr(self, name) in _SCOPES, "Augment", name, getattr(self, name), 'take "frame", "clip" or "tuple"')
        _need(self.flip_scope != "frame", "Augment", "flip_scope", self.flip_scope, 'a slot is mirrored as a whole: take "clip" or "tuple"')
        for name in ("resize", "crop") if self.region is None else ("resize", "region", "crop"):
            _need(_numbers(getattr(self, name), 2, int), "Augment", name, getattr(self, name), "take two whole numbers, (height, width)")
            _need(max(getattr(self, name)) <= MAX_SIDE, "Augment", name, getattr(self, name), f"take at most {MAX_SIDE} a side")
        for name in ("mean", "std"):
            _need(_numbers(getattr(self, name), 3, float), "Augment", name, getattr(self, name), "take three numbers, red, green and blue")
            least, most = (-MAX_COLOR, MAX_COLOR) if name == "mean" else (1 / MAX_COLOR, MAX_COLOR)
            fits = all(least <= n <= most for n in getattr(self, name))
            _need(fits, "Augment", name, getattr(self, name), f"take numbers in {least}..{most}")
        _need(isinstance(self.jitter, int), "Augment", "jitter", self.jitter, "take a whole number of pixels")
        _need(min(self.crop) > 0, "Augment", "crop", self.crop, "take positive sizes")
        outer, whole = ("resize", self.resize) if self.region is None else ("region", self.region)
        _need(whole[0] <= self.resize[0] and whole[1] <= self.resize[1], "Augment", "region", whole, f"must fit into resize={self.resize}")
        _need(self.crop[0] <= whole[0] and self.crop[1] <= whole[1], "Augment", "crop", self.crop, f"must fit into {outer}={whole}")
        _need(0 <= self.jitter <= MAX_SIDE, "Augment", "jitter", self.jitter, f"take pixels in 0..{MAX_SIDE}")
        for name in ("flip", "grey", "split"):
            _need(0.0 <= getattr(self, name) <= 1.0, "Augment", name, getattr(self, name), "take a probability in 0..1")
        for name in ("brightness", "contrast", "saturation"):
            _need(0.0 <= getattr(self, name) <= 1.0, "Augment", name, getattr(self, name), "take a spread in 0..1")


def _numbers(value: object, count: int, kind: type) -> bool:
    """True for `count` numbers in a sequence, finite ones, and whole ones where `kind` is int."""
    allowed = (int,) if kind is int else (int, float)
    return isinstance(value, tuple | list) and len(value) == count and all(isinstance(n, allowed) and abs(n) < math.inf for n in value)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanSpec:
    """A pretext task as a table.

    A window holds groups x bases "bases", each the first of `length` frames `stride` apart; together they are the pool, numbered
    (group * bases + base) * length + t. Row p of `arrangements` int [P, K, T] says which pool frame slot k shows at time t, and
    `labels` int [P] is its class; rows are drawn evenly (repeat a row to weight it).

    draw: "chain": bases follow each other with gap_min..gap_max unused frames between them; "free": drawn without replacement, sorted.
    weight: "uniform", or "motion": a base is drawn in proportion to the motion within its frames.
    limits: (i, j, min, max): base j starts min..max frames after base i. distinct: pairs (i, j) of bases whose first frames' 16 x 16
    thumbnails must differ by a sum of squares of at least distinct_min. Both by at most `tries` tries, then the plan's status says so.
    window: frames of one window; None takes the fewest that can hold the bases, "video" the whole video.
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
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for table, kind in (("arrangements", np.int32), ("labels", np.int64)):
            values, most = np.asarray(getattr(self, table)), np.iinfo(kind).max
            _need(values.size <= MAX_TABLE, "PlanSpec", f"{table}.shape", values.shape, f"take at most {MAX_TABLE} numbers")
            whole = values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((np.isfinite(values) & (values % 1 == 0)).all()))
            _need(whole, "PlanSpec", table, values.dtype.name, "take whole numbers")
            edges = (int(values.min()), int(values.max())) if values.size else (0, 0)
            _need(edges[0] >= 0 and edges[1] <= most, "PlanSpec", table, edges, f"take numbers in 0..{most}")
            object.__setattr__(self, table, np.ascontiguousarray(values, dtype=kind))
        rows, labels = self.arrangements, self.labels
        _need(rows.ndim == 3 and rows.size > 0, "PlanSpec", "arrangements.shape", rows.shape, "take [P, K, T]")
        _need(labels.shape == rows.shape[:1], "PlanSpec", "labels.shape", labels.shape, f"take one label a row: ({rows.shape[0]},)")
        for name in ("groups", "bases", "length", "stride", "tries"):
            _need(isinstance(getattr(self, name), int), "PlanSpec", name, getattr(self, name), "take a whole number")
            most = MAX_TRIES if name == "tries" else MAX_PLACES
            _need(1 <= getattr(self, name) <= most, "PlanSpec", name, getattr(self, name), f"take at least 1, at most {most}")
        _need(self.groups * self.bases <= MAX_BASES, "PlanSpec", "groups * bases", self.groups * self.bases, f"take at most {MAX_BASES}")
        _need(self.slots * self.times <= MAX_SHOWN, "PlanSpec", "arrangements.shape", rows.shape, f"take K * T of at most {MAX_SHOWN}")
        pool = self.groups * self.bases * self.length
        _need(
            bool(rows.min() >= 0 and rows.max() < pool),
            "PlanSpec", "arrangements", (int(rows.min()), int(rows.max())), f"pool numbers are 0..{pool - 1}",
        )  # fmt: skip
        _need(self.draw in _DRAWS, "PlanSpec", "draw", self.draw, 'take "chain" or "free"')
        _need(self.weight in _WEIGHTS, "PlanSpec", "weight", self.weight, 'take "uniform" or "motion"')
        fits = _numbers(self.gap, 2, int) and 0 <= self.gap[0] <= self.gap[1]
        _need(fits, "PlanSpec", "gap", self.gap, "take whole numbers (min, max) with 0 <= min <= max")
        taken = max(pool, self.bases * ((self.length - 1) * self.stride + 1 + self.gap[1]))
        _need(taken <= MAX_PLACES, "PlanSpec", "bases, length, stride, gap", (self.bases, self.length, self.stride, self.gap),
              f"the bases take up {taken} frames; take fewer than {MAX_PLACES}")  # fmt: skip
        fits = isinstance(self.distinct_min, int) and 0 <= self.distinct_min < 2**32
        _need(fits, "PlanSpec", "distinct_min", self.distinct_min, "take a whole number in 0..2**32 - 1")
        for name, count in (("limits", 4), ("distinct", 2)):
            _need(len(getattr(self, name)) <= MAX_LIMITS, "PlanSpec", name, getattr(self, name), f"take at most {MAX_LIMITS}")
            for entry in getattr(self, name):
                fits = _numbers(entry, count, int) and all(abs(n) <= _MOST for n in entry)
                _need(fits, "PlanSpec", name, entry, f"take {count} whole numbers")
                _need(0 <= entry[0] < entry[1] < self.bases, "PlanSpec", name, entry, f"bases are 0 <= i < j < {self.bases}")
        fits = self.span <= self.window <= _MOST if isinstance(self.window, int) else self.window in (None, "video")
        _need(fits, "PlanSpec", "window", self.window, f'its bases need at least {self.span} frames; take that, None or "video"')

    @property
    def slots(self) -> int:
        return int(self.arrangements.shape[1])

    @property
    def times(self) -> int:
        return int(self.arrangements.shape[2])

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def span(self) -> int:
        """Fewest frames that can hold the bases."""
        extent = (self.length - 1) * self.stride + 1
        if self.draw == "chain":
            return self.bases * extent + (self.bases - 1) * self.gap[1]
        return self.bases - 1 + extent

    @property
    def frames(self) -> int:
        """Fewest frames of a window, and of a video that can be used: all windows have this many unless `window` is "video"."""
        return self.window if isinstance(self.window, int) else self.span

    @property
    def needs_motion(self) -> bool:
        """True where frames must be decoded before the plan can be made."""
        return self.reads_sad or bool(self.distinct)

    @property
    def reads_sad(self) -> bool:
        """True where the frames, or the part of the picture, are chosen by how much changes."""
        return self.weight == "motion" or self.augment.region is not None

    @cached_property
    def text(self) -> str:
        """What the kernels read, see csrc/kernels/spec.h; the tables go beside it."""
        a = self.augment
        values: dict[str, Any] = {
            "groups": self.groups, "bases": self.bases, "length": self.length, "stride": self.stride,
            "draw": _DRAWS[self.draw], "gap": self.gap, "weight": _WEIGHTS[self.weight], "tries": self.tries,
            "distinct_min": self.distinct_min, "table": self.arrangements.shape,
            "resize": a.resize, "region": a.region or (0, 0), "crop": a.crop, "crop_scope": _SCOPES[a.crop_scope], "jitter": a.jitter,
            "flip": a.flip, "flip_scope": _SCOPES[a.flip_scope],
            "brightness": a.brightness, "contrast": a.contrast, "saturation": a.saturation,
            "grey": a.grey, "split": a.split, "color_scope": _SCOPES[a.color_scope], "mean": a.mean, "std": a.std,
        }  # fmt: skip
        words = [f"{key}={','.join(map(repr, value)) if isinstance(value, tuple) else repr(value)}" for key, value in values.items()]
        words += [f"{key}={';'.join(','.join(map(str, row)) for row in getattr(self, key))}" for key in ("limits", "distinct")]
        return " ".join(words)

    @cached_property
    def _tables(self) -> dict[str, tuple[Array, Array]]:
        return {}

    def tables(self, like: Array) -> tuple[Array, Array]:
        """(arrangements, labels) as arrays of `like`'s kind on its device, uploaded once."""
        key = f"{type(like).__module__} {getattr(like, 'device', 'cpu')}"
        if key not in self._tables:
            self._tables[key] = (to_kind(self.arrangements, like), to_kind(self.labels, like))
        return self._tables[key]


class HasPlan(Protocol):
    """What the loader needs of a pretext."""

    @property
    def plan(self) -> PlanSpec: ...


_HOST = np.empty(0)


def plan(
    spec: PlanSpec, *, frames: int, size: tuple[int, int], seed: int, epoch: int, sample: int, train: bool = True,
    sad: Array | None = None, thumb: Array | None = None, like: Array | None = None,
) -> Plan:  # fmt: skip
    """Draws one sample: a pure function of its arguments, the same integers on CPU and GPU.

    frames: of the window. size: (height, width) of its picture in pixels. sad, thumb: as `motion` gives them, where spec.needs_motion.
    The result is of the kind and on the device of `like`, else of `sad`, else numpy. `status` is 0, or says that no try met the limits
    (1) or found frames that differ enough (2), and then the last try is given. Raises VidsslError where the window is too short.
    """
    _need(frames >= spec.span, "plan", "frames", frames, f"this spec needs a window of at least {spec.span}")
    most = MAX_FRAMES if spec.needs_motion else _MOST
    _need(frames <= most, "plan", "frames", frames, f"take at most {most}")
    _need(len(size) == 2 and all(0 < n <= MAX_SIDE for n in size), "plan", "size", size, f"take (height, width) in 1..{MAX_SIDE}")
    _need(0 <= epoch < 2**32, "plan", "epoch", epoch, "take 0 <= epoch < 2**32")
    _need(0 <= seed < 2**64 and 0 <= sample < 2**64, "plan", "seed, sample", (seed, sample), "take numbers in 0 .. 2**64 - 1")
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
    scratch = empty_like(like, (kernels.plan_scratch(frames, size[1]),), "uint64") if spec.reads_sad else None
    with device_of(like):
        kernels.plan(
            spec.text, *spec.tables(like), frames, *size, sad, thumb, scratch, seed, epoch, sample, train, *out, stream=stream_of(like)
        )  # fmt: skip
    return out
