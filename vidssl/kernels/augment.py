"""augment: how every shown frame is cut and coloured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from vidssl.types import MAX_SIDE, VidsslError

Scope = Literal["frame", "clip", "tuple"]
SCOPES = {"frame": 0, "clip": 1, "tuple": 2}  # as in csrc/kernels/spec.h
MAX_COLOR = 1e6  # of mean and std, as in spec.cpp


def need(good: bool, owner: str, argument: str, value: object, fix: str) -> None:
    """Raises VidsslError unless `good`. owner: whose argument it is."""
    if not good:
        raise VidsslError(f"{owner}: {argument}={value!r}: {fix}")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How every shown frame is cut and coloured. In evaluation: centre crop, no flip, no jitter, no colour change.

    Args:
        resize: (height, width) in pixels the whole picture is resized to; the aspect is not kept.
        region: (height, width) in resized pixels: only the part of this size is used in which the frames of the pool
            move most, found in steps of 16 pixels of the video; the centre where nothing moves. None uses the whole
            picture.
        crop: (height, width) in pixels then cut out of it; what the encoder sees.
        crop_scope: What shares one place of the crop: a "frame", a "clip" (slot) or the whole "tuple"; as the other
            scopes.
        jitter: Each frame moves by up to this many (resized) pixels an axis; an axis that would leave the picture (the
            region) stays.
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
            need(getattr(self, name) in SCOPES, "Augment", name, getattr(self, name), 'take "frame", "clip" or "tuple"')
        need(
            self.flip_scope != "frame",
            "Augment",
            "flip_scope",
            self.flip_scope,
            'a slot is mirrored as a whole: take "clip" or "tuple"',
        )
        for name in ("resize", "crop") if self.region is None else ("resize", "region", "crop"):
            need(
                numbers(getattr(self, name), 2, int),
                "Augment",
                name,
                getattr(self, name),
                "take two whole numbers, (height, width)",
            )
            need(
                max(getattr(self, name)) <= MAX_SIDE,
                "Augment",
                name,
                getattr(self, name),
                f"take at most {MAX_SIDE} a side",
            )
        for name in ("mean", "std"):
            need(
                numbers(getattr(self, name), 3, float),
                "Augment",
                name,
                getattr(self, name),
                "take three numbers, red, green and blue",
            )
            least, most = (-MAX_COLOR, MAX_COLOR) if name == "mean" else (1 / MAX_COLOR, MAX_COLOR)
            fits = all(least <= n <= most for n in getattr(self, name))
            need(fits, "Augment", name, getattr(self, name), f"take numbers in {least}..{most}")
        need(isinstance(self.jitter, int), "Augment", "jitter", self.jitter, "take a whole number of pixels")
        need(min(self.crop) > 0, "Augment", "crop", self.crop, "take positive sizes")
        outer, whole = ("resize", self.resize) if self.region is None else ("region", self.region)
        need(
            whole[0] <= self.resize[0] and whole[1] <= self.resize[1],
            "Augment",
            "region",
            whole,
            f"must fit into resize={self.resize}",
        )
        need(
            self.crop[0] <= whole[0] and self.crop[1] <= whole[1],
            "Augment",
            "crop",
            self.crop,
            f"must fit into {outer}={whole}",
        )
        need(0 <= self.jitter <= MAX_SIDE, "Augment", "jitter", self.jitter, f"take pixels in 0..{MAX_SIDE}")
        for name in ("flip", "grey", "split"):
            need(0.0 <= getattr(self, name) <= 1.0, "Augment", name, getattr(self, name), "take a probability in 0..1")
        for name in ("brightness", "contrast", "saturation"):
            need(0.0 <= getattr(self, name) <= 1.0, "Augment", name, getattr(self, name), "take a spread in 0..1")

    def denormalize(self, clips: Any) -> Any:
        """Undoes mean and std. clips: a torch tensor [..., 3, T, H, W] as the encoder sees it; returns it in 0..1."""
        mean, std = (clips.new_tensor(value).view(3, 1, 1, 1) for value in (self.mean, self.std))
        return clips * std + mean

    def as_shown(self, clips: Any) -> Any:
        """The pictures behind clips, a torch tensor [..., 3, T, H, W] as the encoder sees it: uint8 on the CPU."""
        pictures = self.denormalize(clips.detach().float().cpu()) * 255
        return pictures.round().clamp(0, 255).byte()


def numbers(value: object, count: int, kind: type) -> bool:
    """True for `count` numbers in a sequence, finite ones, and whole ones where `kind` is int."""
    allowed = (int,) if kind is int else (int, float)
    return (
        isinstance(value, tuple | list)
        and len(value) == count
        and all(isinstance(n, allowed) and abs(n) < math.inf for n in value)
    )
