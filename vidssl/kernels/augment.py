"""augment: the settings of crop, flip, colour and effects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from vidssl.checks import MAX_SIDE, is_real, is_whole
from vidssl.settings import Settings
from vidssl.types import VidsslError

Scope = Literal["frame", "clip", "tuple"]
SCOPES = {"frame": 0, "clip": 1, "tuple": 2}  # as in csrc/kernels/spec.h
MAX_ASPECT = 64.0  # limit of crop_aspect, as in spec.cpp
MAX_COLOR = 1e6  # limit of mean and std, as in spec.cpp
EFFECTS = {  # what the loader does to finished clips, in this order (vidssl/loader/effects.py), and its settings
    "blur": ("blur_sigma", "blur_scope"),
    "solarise": ("solarise_threshold", "color_scope"),
    "cutout": ("cutout_area", "cutout_aspect", "mask_scope"),
    "tubes": ("tube_cells", "mask_scope"),
}
_BLUR_REACH = 3.0  # the filter of a blur reaches so many times the largest sigma
MAX_TUBE_CELLS = 2**16
LUMA = (0.299, 0.587, 0.114)  # BT.601, of red, green and blue, as the kernels take them


def need(good: bool, owner: str, argument: str, value: object, fix: str) -> None:
    """Raises VidsslError unless `good`. owner: The class or function that has the argument."""
    if not good:
        raise VidsslError(f"{owner}: {argument}={value!r}: {fix}")


@dataclass(frozen=True, kw_only=True)
class Augment(Settings):
    """How each shown frame is cropped, flipped and coloured.

    Training draws at random. Evaluation uses the centre crop, and no flip, jitter, colour change or effect.

    The effects blur, solarise, cutout and tubes are applied in this order by the loader, to the clips of a batch on
    their device, by kornia: pip install 'vidssl[kornia]'. `plan` and `assemble` leave them out.

    Args:
        resize: (height, width) in pixels to which the whole picture is resized. The aspect ratio is not kept.
        short_side: Length in pixels to which the shorter side of the picture is resized, in the place of `resize`; the
            aspect ratio is kept, and the longer side is rounded down. With a store, the picture is the one that the
            store shows. None resizes to `resize`.
        region: (height, width) in resized pixels. Crops come only from the region of this size in which the frames of
            the pool move most. It is searched in steps of 16 pixels of the video; without motion it is the centre.
            None uses the whole picture.
        crop: (height, width) in resized pixels of the crop that the encoder gets.
        crop_scope: The crop's position is drawn once for each "frame", each "clip" (slot) or each "tuple".
        crop_area: (min, max) fraction of the picture (or of the region, or of a cell of a grid) that a random crop
            covers, in 0..1. Each is resized to `crop`, so `crop` is then no longer a part of the resized picture.
            Drawn evenly, as often as crop_scope says. None cuts crops of the size `crop`.
        crop_aspect: (min, max) width / height of such a crop, in resized pixels; its logarithm is drawn evenly. Used
            only with crop_area.
        jitter: Each frame's crop moves by up to this many resized pixels along each axis. It does not move along an
            axis where it would leave the picture or the region.
        flip: Probability in 0..1 that a slot is mirrored.
        flip_scope: The flip is drawn once for each "clip" or each "tuple".
        brightness: Spread in 0..1. The factor is drawn from 1 - spread to 1 + spread.
        contrast: Spread in 0..1, as `brightness`. Mid grey (128) does not change.
        saturation: Spread in 0..1, as `brightness`.
        hue: Spread in 0..0.5 of a turn: the colours are turned around the axis of the greys by -spread to spread. A
            third of a turn makes red green.
        grey: Probability in 0..1 that the picture is made grey.
        split: Probability in 0..1 that one channel is copied to all three.
        color_scope: The colours are drawn once for each "frame", each "clip" or each "tuple".
        blur: Probability in 0..1 that the picture is blurred by a Gaussian filter.
        blur_sigma: (min, max) standard deviation of the filter in pixels of the crop, drawn evenly. The filter reaches
            3 max pixels, rounded up.
        blur_scope: The blur is drawn once for each "frame", each "clip" or each "tuple".
        solarise: Probability in 0..1 that values of at least a threshold are inverted: x becomes 1 - x. Drawn as often
            as color_scope says.
        solarise_threshold: (min, max) of the threshold of pictures in 0..1, drawn evenly.
        cutout: Probability in 0..1 that a rectangle of the crop becomes `mean`, which is 0 for the encoder.
        cutout_area: (min, max) fraction of the crop that the rectangle covers, in 0..1, drawn evenly.
        cutout_aspect: (min, max) width / height of the rectangle; its logarithm is drawn evenly.
        tubes: Fraction in 0..1 of the cells of the crop that become `mean`, the same cells in all frames of a clip
            unless mask_scope says otherwise. 0 hides none.
        tube_cells: (rows, columns) of cells of the crop.
        mask_scope: Cutout and tubes are drawn once for each "frame", each "clip" or each "tuple".
        mean: Mean of each channel (red, green, blue) of pictures in 0..1. The encoder gets (x / 255 - mean) / std.
        std: Standard deviation of each channel, see `mean`.
        level_luma: The mean luma of each "clip" or each "frame" is moved to 0.5 (of 1) before the encoder sees it, also
            in evaluation. All channels of its pixels move by the same amount. Brightness then tells no order: between
            clips, or also within a clip (fades, exposure). None leaves it as it is.

    Raises:
        VidsslError: A value is out of its range, or the crop does not fit into the region or the resized picture.
    """

    resize: tuple[int, int] = (128, 171)
    short_side: int | None = None
    region: tuple[int, int] | None = None
    crop: tuple[int, int] = (112, 112)
    crop_scope: Scope = "clip"
    crop_area: tuple[float, float] | None = None
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    jitter: int = 0
    flip: float = 0.0
    flip_scope: Scope = "tuple"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    split: float = 0.0
    color_scope: Scope = "frame"
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_scope: Scope = "clip"
    solarise: float = 0.0
    solarise_threshold: tuple[float, float] = (0.5, 0.5)
    cutout: float = 0.0
    cutout_area: tuple[float, float] = (0.02, 0.33)
    cutout_aspect: tuple[float, float] = (0.3, 3.3)
    tubes: float = 0.0
    tube_cells: tuple[int, int] = (7, 7)
    mask_scope: Scope = "clip"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    level_luma: Literal["clip", "frame"] | None = None

    def __post_init__(self) -> None:
        need(
            self.flip_scope != "frame",
            "Augment",
            "flip_scope",
            self.flip_scope,
            'take "clip" or "tuple"; all frames of a slot are mirrored together',
        )
        self._check_sizes()
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
        fits = is_whole(self.jitter, 0, MAX_SIDE)
        need(fits, "Augment", "jitter", self.jitter, f"take a whole number of pixels in 0..{MAX_SIDE}")
        for name in ("flip", "grey", "split", "blur", "solarise", "cutout"):
            fits = is_real(getattr(self, name), 0, 1)
            need(fits, "Augment", name, getattr(self, name), "take a probability in 0..1")
        for name in ("brightness", "contrast", "saturation"):
            fits = is_real(getattr(self, name), 0, 1)
            need(fits, "Augment", name, getattr(self, name), "take a spread in 0..1")
        need(is_real(self.hue, 0, 0.5), "Augment", "hue", self.hue, "take a spread in 0..0.5 of a turn")
        areas, aspects = ("crop_area", "cutout_area"), ("crop_aspect", "cutout_aspect")
        for name in areas + aspects:
            given = getattr(self, name)
            least, most = (0.0, 1.0) if name in areas else (1 / MAX_ASPECT, MAX_ASPECT)
            off = name == "crop_area" and given is None
            fits = off or (numbers(given, 2, float) and given[0] > 0 and least <= given[0] <= given[1] <= most)
            need(fits, "Augment", name, given, f"take (min, max) with 0 < min <= max, in {least}..{most}")
        self._check_effects()

    def _check_sizes(self) -> None:
        """Checks that the crop lies in the region, and the region in the resized picture."""
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
        fits = self.short_side is None or is_whole(self.short_side, 1, MAX_SIDE)
        need(fits, "Augment", "short_side", self.short_side, f"take a whole number in 1..{MAX_SIDE}, or None")
        need(min(self.crop) > 0, "Augment", "crop", self.crop, "take positive sizes")
        picture, said = self.surely, f"resize={self.resize}"
        if self.short_side is not None:
            said = f"the square of short_side={self.short_side}, as a picture may be upright"
        whole, outer = (picture, said) if self.region is None else (self.region, f"region={self.region}")
        need(
            whole[0] <= picture[0] and whole[1] <= picture[1],
            "Augment",
            "region",
            whole,
            f"it must fit into {said}",
        )
        need(
            self.crop[0] <= whole[0] and self.crop[1] <= whole[1],
            "Augment",
            "crop",
            self.crop,
            f"it must fit into {outer}",
        )

    def _check_effects(self) -> None:
        """Checks the settings of blur, solarise and tubes that are not those of other changes too."""
        given, side = self.blur_sigma, min(self.crop)
        fits = numbers(given, 2, float) and 0.01 <= given[0] <= given[1]
        need(fits, "Augment", "blur_sigma", given, "take (min, max) in pixels with 0.01 <= min <= max")
        fits = self.blur == 0 or self.blur_reach < side
        fix = f"the filter reaches 3 max pixels, which must be fewer than the crop's shorter side of {side}"
        need(fits, "Augment", "blur_sigma", given, fix)
        given = self.solarise_threshold
        fits = numbers(given, 2, float) and 0 <= given[0] <= given[1] <= 1
        need(fits, "Augment", "solarise_threshold", given, "take (min, max) with min <= max, in 0..1")
        need(is_real(self.tubes, 0, 1), "Augment", "tubes", self.tubes, "take a fraction of the cells in 0..1")
        cells = self.tube_cells
        fits = numbers(cells, 2, int) and min(cells) >= 1 and cells[0] * cells[1] <= MAX_TUBE_CELLS
        need(fits, "Augment", "tube_cells", cells, f"take (rows, columns) of at most {MAX_TUBE_CELLS} cells")
        fits = self.tubes == 0 or (cells[0] <= self.crop[0] and cells[1] <= self.crop[1])
        need(fits, "Augment", "tube_cells", cells, f"take at most a cell for each pixel of crop={self.crop}")
        hides, of = self.hidden_cells, cells[0] * cells[1]
        fits = self.tubes == 0 or 0 < hides < of
        fix = f"this hides {hides} of {of} cells; leave at least one hidden and one visible"
        need(fits, "Augment", "tubes", self.tubes, fix)

    @property
    def blur_reach(self) -> int:
        """Pixels that the filter of the blur reaches to each side."""
        return math.ceil(_BLUR_REACH * self.blur_sigma[1])

    @property
    def hidden_cells(self) -> int:
        """Cells that `tubes` hides, the nearest whole number."""
        return round(self.tubes * self.tube_cells[0] * self.tube_cells[1])

    @property
    def effects(self) -> dict[str, Any]:
        """The effects that are on, with their settings; {} if there is none."""
        on = [name for name in EFFECTS if getattr(self, name) > 0]
        return {setting: getattr(self, setting) for name in on for setting in (name, *EFFECTS[name])}

    @property
    def surely(self) -> tuple[int, int]:
        """(height, width) of what every resized picture has at least: `resize`, or the square of `short_side`."""
        return self.resize if self.short_side is None else (self.short_side, self.short_side)

    def level(self, clips: Any) -> Any:
        """Moves the mean luma of each clip, or of each frame, to 0.5, as `level_luma` says.

        Args:
            clips: Torch tensor [..., 3, T, H, W], normalised for the encoder.

        Returns:
            A tensor of the same shape and type; the same tensor if `level_luma` is None.
        """
        if self.level_luma is None:
            return clips
        axes = (-2, -1) if self.level_luma == "frame" else (-3, -2, -1)
        means = self.denormalize(clips.float().mean(dim=axes, keepdim=True))  # [..., 3, T or 1, 1, 1]
        luma = (means * means.new_tensor(LUMA).view(3, 1, 1, 1)).sum(dim=-4, keepdim=True)
        return clips + ((0.5 - luma) / means.new_tensor(self.std).view(3, 1, 1, 1)).to(clips.dtype)

    def denormalize(self, clips: Any) -> Any:
        """Undoes the normalisation with mean and std.

        Args:
            clips: Torch tensor [..., 3, T, H, W], normalised for the encoder.

        Returns:
            A tensor of the same shape with values in 0..1.
        """
        mean, std = (clips.new_tensor(value).view(3, 1, 1, 1) for value in (self.mean, self.std))
        return clips * std + mean

    def as_shown(self, clips: Any) -> Any:
        """Returns the pictures that normalised clips show.

        Args:
            clips: Torch tensor [..., 3, T, H, W], normalised for the encoder.

        Returns:
            uint8 tensor of the same shape on the CPU.
        """
        pictures = self.denormalize(clips.detach().float().cpu()) * 255
        return pictures.round().clamp(0, 255).byte()


def numbers(value: object, count: int, kind: type) -> bool:
    """True if `value` is a tuple or list of `count` finite numbers. They must be whole numbers if `kind` is int."""
    allowed = (int,) if kind is int else (int, float)
    return (
        isinstance(value, tuple | list)
        and len(value) == count
        and all(isinstance(n, allowed) and abs(n) < math.inf for n in value)
    )
