"""views: tables of tasks whose question is not in the order of frames: labelled clips, several views, masked clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from vidssl.checks import is_real, is_whole
from vidssl.kernels.augment import Augment, need, numbers
from vidssl.kernels.plan import MAX_BASES, MAX_TABLE, PlanSpec
from vidssl.native import kernels

MAX_CELLS = 2**20  # of a mask
_MIRRORED = Augment(flip=0.5, color_scope="clip")
_VIEWED = Augment(flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2)
_CELLS = 1  # the "order" draws of cells; those of videos have index 0


def labelled_clips(length: int, stride: int = 1, *, augment: Augment = _MIRRORED) -> PlanSpec:
    """One clip of each video, for training with the videos' own classes: `Batch.target`.

    Args:
        length: Frames of the clip, T.
        stride: Distance between neighbouring frames, in frames of the video.
        augment: Settings of crop, flip and colour. Default: 112 x 112 of 128 x 171, mirrored in half of the cases, and
            colours drawn once for each clip. An Augment that is given takes the place of all of this.

    Returns:
        A table of one slot; its label is always 0.

    Raises:
        VidsslError: An argument is not a whole number of at least 1.
    """
    _check_clip("labelled_clips", length, stride)
    return PlanSpec(
        arrangements=np.arange(length)[None, None],  # [P = 1, K = 1, T]
        labels=np.zeros(1, np.int64),
        bases=1,
        length=length,
        stride=stride,
        augment=augment,
    )


def two_views(
    length: int, stride: int = 1, *, window: int | Literal["video"] | None = None, augment: Augment = _VIEWED
) -> PlanSpec:
    """Two clips of one window, cropped, mirrored and coloured independently. Arguments and result as in `views`."""
    return views(2, length, stride, window=window, augment=augment)


def views(
    count: int,
    length: int,
    stride: int = 1,
    *,
    window: int | Literal["video"] | None = None,
    grid: tuple[int, int] | None = None,
    augment: Augment = _VIEWED,
) -> PlanSpec:
    """Several clips of one window, cropped, mirrored and coloured independently.

    Args:
        count: Number of views, K.
        length: Frames of a view, T.
        stride: Distance between neighbouring frames of a view, in frames of the video.
        window: None: all views show the same frames. A number of frames, or "video" for the whole video: the views
            begin at different frames, drawn from a window of this length, in the order of the slots. They may overlap.
        grid: (rows, columns) of cells of the picture: view k is cropped within cell k, counted row by row. None: each
            view is cropped anywhere.
        augment: Settings of crop, flip and colour. Whatever its scopes say, each view has draws of its own, the same
            for all of its frames (scope "clip"). Default: 112 x 112 of 128 x 171, mirrored in half of the cases,
            brightness, contrast and saturation changed by up to 0.4, grey in a fifth of the cases. An Augment that is
            given takes the place of all of this.

    Returns:
        A table of K slots; its label is always 0. Without random draws (`Loader(train=False)`), views of the same
        frames are equal unless there is a grid.

    Raises:
        VidsslError: A number is out of its range, the window is too short, or the grid has no cell for each view.
    """
    _check_clip("views", length, stride)
    need(is_whole(count, 1, MAX_BASES), "views", "count", count, f"take a whole number of views in 1..{MAX_BASES}")
    fits = grid is None or (numbers(grid, 2, int) and min(grid) >= 1 and grid[0] * grid[1] == count)
    need(fits, "views", "grid", grid, f"take (rows, columns) with one cell for each of the {count} views, or None")
    bases = 1 if window is None else count
    base, cell = np.arange(count) if bases > 1 else np.zeros(count, int), np.arange(count) if grid else 0
    first = cell * bases * length + base * length  # entry of the table at which each view begins
    return PlanSpec(
        arrangements=(first[:, None] + np.arange(length))[None],  # [P = 1, K, T]
        labels=np.zeros(1, np.int64),
        bases=bases,
        length=length,
        stride=stride,
        draw="free",
        window=window,
        grid=grid or (1, 1),
        augment=replace(
            augment, crop_scope="clip", flip_scope="clip", color_scope="clip", blur_scope="clip", mask_scope="clip"
        ),
    )


def masked_clips(length: int, stride: int = 1, *, masks: int = 1024, augment: Augment = _MIRRORED) -> PlanSpec:
    """One clip of each video, and the number of a mask, for masked modelling.

    The label is the number of the mask, drawn from 0..masks - 1 like any label: as a pure function of (seed, epoch,
    position), the same with every engine and on every device. The masks are a table that `tube_masks` makes:

        masks = torch.from_numpy(tube_masks(1024, (14, 14))).to(loader.device)
        hidden = masks[batch.label]  # bool [B, 14, 14]

    Args:
        length: Frames of the clip, T.
        stride: Distance between neighbouring frames, in frames of the video.
        masks: Number of masks.
        augment: As of `labelled_clips`.

    Returns:
        A table of one slot. `Loader(train=False)` shows each video with a mask that never changes.

    Raises:
        VidsslError: A number is out of its range.
    """
    _check_clip("masked_clips", length, stride)
    most = MAX_TABLE // length
    need(is_whole(masks, 1, most), "masked_clips", "masks", masks, f"take a whole number in 1..{most}")
    one = labelled_clips(length, stride, augment=augment)
    return replace(one, arrangements=np.repeat(one.arrangements, masks, axis=0), labels=np.arange(masks))


def tube_masks(masks: int, size: tuple[int, ...], *, hidden: float = 0.9, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Make the masks that the labels of `masked_clips` number.

    Args:
        masks: Number of masks.
        size: (rows, columns) of cells that are hidden over all frames (tubes); or (times, rows, columns), to draw the
            cells of each time on their own.
        hidden: Fraction of the cells that are hidden. Every mask hides the same number of cells, the nearest whole one.
        seed: Seed of the masks. Mask m depends on the seed, m, the number of cells and `hidden` alone.

    Returns:
        bool [masks, *size], True where hidden.

    Raises:
        VidsslError: A number is out of its range; or every cell, or none, would be hidden.
    """
    name = "tube_masks"
    shaped = isinstance(size, tuple | list) and len(size) in (2, 3) and numbers(size, len(size), int)
    shaped = shaped and min(size) >= 1 and int(np.prod(size, dtype=float)) <= MAX_CELLS
    fix = f"take (rows, columns) or (times, rows, columns), of at most {MAX_CELLS} cells"
    need(shaped, name, "size", size, fix)
    cells = int(np.prod(size))
    need(is_whole(masks, 1, MAX_TABLE), name, "masks", masks, f"take a whole number in 1..{MAX_TABLE}")
    need(is_whole(seed, 0, 2**64 - 1), name, "seed", seed, "take a whole number in 0..2**64 - 1")
    need(is_real(hidden, 0, 1), name, "hidden", hidden, "take a fraction in 0..1")
    count = round(hidden * cells)
    fix = f"this hides {count} of {cells} cells; leave at least one hidden and one visible"
    need(0 < count < cells, name, "hidden", hidden, fix)
    out, bits = np.zeros((masks, cells), bool), np.empty((cells, 4), np.uint32)
    for number, mask in enumerate(out):
        kernels.random(bits, seed, 0, number * cells, "order", _CELLS)
        keys = bits[:, 0].astype(np.uint64) | bits[:, 1].astype(np.uint64) << np.uint64(32)
        mask[np.argsort(keys, kind="stable")[:count]] = True
    return out.reshape(masks, *size)


def _check_clip(owner: str, length: int, stride: int) -> None:
    for name, value in (("length", length), ("stride", stride)):
        need(is_whole(value, 1, MAX_TABLE), owner, name, value, f"take a whole number in 1..{MAX_TABLE}")
