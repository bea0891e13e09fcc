"""Effects: blur, solarising, cutout and tubes of a batch's finished clips, on their device, by kornia.

What is drawn is a pure function of (seed, epoch, position), by Philox as in a plan: kornia's own random numbers are not
used. The draws are made on the host, so no step waits for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vidssl.kernels.augment import Augment, Scope, need
from vidssl.kernels.joint import Spec, part_sample
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.buffers import upload, upload_together
from vidssl.loader.sampler import Sampler
from vidssl.native import kernels
from vidssl.types import VidsslError

_MAX_DRAWS = 2**24  # of one purpose and tuple (csrc/kernels/philox.h)
_IN_CACHE = 16  # pictures that a CPU changes at a time: in new memory of many, page faults take most of the time
_WORDS = 4  # random words of a draw


class Drawn(NamedTuple):
    """What is drawn for the frames of N tuples of K slots and T times.

    Attributes:
        sigma: float32 [N, K, T], of the blur in pixels; 0 where nothing is blurred.
        threshold: float32 [N, K, T], of the picture in 0..1; infinite where nothing is solarised.
        rectangle: int64 [N, K or 1, T or 1, 4], x, y, width and height in pixels of what is cut out; width 0 where
            nothing is. 1: of all slots, or of all times.
        hidden: bool [N, K or 1, T or 1, rows, columns], the cells that are hidden.
    """

    sigma: npt.NDArray[np.float32]
    threshold: npt.NDArray[np.float32]
    rectangle: npt.NDArray[np.int64]
    hidden: npt.NDArray[np.bool_]


class Effects:
    """The effects of a loader. Without `sampler.train`, there are none.

    Args:
        spec: The task's table, or those of several; each has its own effects.
        sampler: Of the seed.

    Raises:
        VidsslError: As `check_effects`.
    """

    def __init__(self, spec: Spec, sampler: Sampler) -> None:
        self._spec, self._seed, self._train = spec, sampler.seed, sampler.train
        if sampler.train:
            check_effects(spec)

    @property
    def settings(self) -> str | None:
        """What the effects depend on beside the seed; None if there are none."""
        each = [part.augment.effects for part in self._spec.parts]
        return repr(each) if self._train and any(each) else None

    def apply(self, clips: torch.Tensor, epoch: int, first: int) -> None:
        """Changes the clips of a batch in place.

        Args:
            clips: [B, K, 3, T, h, w] of any type and memory order, normalised for the encoder.
            epoch: Epoch of the batch.
            first: Position of its first tuple; the others follow it.
        """
        end = 0
        for at, part in enumerate(self._spec.parts):
            begin, end = end, end + part.slots
            if self._train and part.augment.effects:
                step = len(self._spec.parts)
                start = part_sample(self._spec, first, at)
                samples = range(start, start + step * len(clips), step)
                drawn = draw_effects(part, seed=self._seed, epoch=epoch, samples=samples)
                apply_effects(clips[:, begin:end], drawn, part.augment)


def check_effects(spec: Spec) -> None:
    """Checks that the effects of a task, or of several, can be made.

    Raises:
        VidsslError: kornia is not installed, or there are too many cells.
    """
    for part in spec.parts:
        on = part.augment.effects
        if on and find_spec("kornia") is None:
            name = next(iter(on))
            fix = f"kornia is not installed; run: pip install 'vidssl[kornia]', or take {name}=0"
            raise VidsslError(f"Augment: {name}={on[name]!r}: {fix}")
        if "tubes" in on:
            rows, columns = part.augment.tube_cells
            count = math.prod(_shape(part, part.augment.mask_scope)) * -(-rows * columns // _WORDS)
            fix = f"these cells need {count} draws a tuple, of at most {_MAX_DRAWS}; take fewer, or mask_scope='clip'"
            need(count <= _MAX_DRAWS, "Augment", "tube_cells", (rows, columns), fix)


def draw_effects(spec: PlanSpec, *, seed: int, epoch: int, samples: range) -> Drawn:
    """Draws the effects of several tuples.

    Args:
        spec: The table, with `augment`.
        seed: As in `plan`.
        epoch: As in `plan`.
        samples: Sample number of each tuple, N of them.

    Returns:
        What is drawn for each of their frames.
    """
    augment = spec.augment
    whole = (len(samples), spec.slots, spec.times)
    height, width = augment.crop

    def words(purpose: str, scope: Scope, count: int) -> npt.NDArray[np.uint32]:
        """Random words [N, K or 1, T or 1, count]."""
        slots, times = _shape(spec, scope)
        draws = -(-count // _WORDS)
        bits = np.empty((samples[-1] - samples[0] + 1, _WORDS), np.uint32)
        out = np.empty((len(samples), slots * times * draws, _WORDS), np.uint32)
        for index in range(out.shape[1]):
            kernels.random(bits, seed, epoch, samples[0], purpose, index)
            out[:, index] = bits[:: samples.step]
        return out.reshape(len(samples), slots, times, draws * _WORDS)[..., :count]

    sigma, threshold = np.zeros(whole, np.float32), np.full(whole, np.inf, np.float32)
    rectangle, hidden = np.zeros((len(samples), 1, 1, 4), np.int64), np.zeros((len(samples), 1, 1, 1, 1), bool)
    if augment.blur > 0:
        on, value = np.moveaxis(_unit(words("blur", augment.blur_scope, 2)), -1, 0)
        sigma[:] = np.where(on < augment.blur, _between(augment.blur_sigma, value), 0)
    if augment.solarise > 0:
        on, value = np.moveaxis(_unit(words("solarise", augment.color_scope, 2)), -1, 0)
        threshold[:] = np.where(on < augment.solarise, _between(augment.solarise_threshold, value), np.inf)
    if augment.cutout > 0:
        found = words("cutout", augment.mask_scope, 5)
        on, area, aspect = np.moveaxis(_unit(found[..., :3]), -1, 0)
        pixels = _between(augment.cutout_area, area) * height * width
        ratio = np.exp(_between(tuple(np.log(augment.cutout_aspect)), aspect))
        wide = np.sqrt(pixels * ratio).round().clip(1, width).astype(np.int64)
        high = np.sqrt(pixels / ratio).round().clip(1, height).astype(np.int64)
        x, y = (
            found[..., at].astype(np.int64) * room >> 32 for at, room in ((3, width - wide + 1), (4, height - high + 1))
        )
        rectangle = np.stack((x, y, wide, high), -1) * (on < augment.cutout)[..., None]
    if augment.tubes > 0:
        cells = math.prod(augment.tube_cells)
        rank = words("tubes", augment.mask_scope, cells).argsort(-1, kind="stable").argsort(-1)
        hidden = (rank < augment.hidden_cells).reshape(*rank.shape[:-1], *augment.tube_cells)
    return Drawn(sigma, threshold, rectangle, hidden)


def apply_effects(clips: torch.Tensor, drawn: Drawn, augment: Augment) -> None:
    """Applies effects to clips in place.

    Args:
        clips: [N, K, 3, T, h, w] of any type and memory order, normalised for the encoder.
        drawn: What was drawn for these tuples.
        augment: Their settings.
    """
    pictures = clips.permute(0, 1, 3, 2, 4, 5)  # [N, K, T, 3, h, w], the same memory
    if augment.blur > 0:
        _change(pictures, drawn.sigma > 0, drawn.sigma, partial(_blurred, augment=augment))
    if augment.solarise > 0:
        _change(pictures, np.isfinite(drawn.threshold), drawn.threshold, partial(_solarised, augment=augment))
    if augment.cutout > 0:
        _mask(pictures, _inside(drawn.rectangle, pictures))
    if augment.tubes > 0:
        _mask(pictures, _in_cells(drawn.hidden, pictures))


def _change(
    pictures: torch.Tensor,
    on: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Changes some pictures in place; whole numbers are rounded, as `assemble` does.

    Args:
        pictures: [N, K, T, 3, h, w].
        on: [N, K, T], the pictures that change.
        values: [N, K, T, ...], what `change` needs of each.
        change: Makes new pictures float32 [n, 3, h, w] of old ones and their values [n, ...], which are on the host.
    """
    place, chosen = upload(np.stack(np.nonzero(on)), pictures.device), torch.from_numpy(values[on])
    together = _IN_CACHE if pictures.device.type == "cpu" else max(len(chosen), 1)
    for begin in range(0, len(chosen), together):
        some = slice(begin, begin + together)
        at = tuple(place[:, some])  # three tensors [n]
        found = pictures[at]
        changed = change(found.float().contiguous(), chosen[some])
        if not found.dtype.is_floating_point:
            changed = changed.round().clamp(0, 255)
        pictures[at] = found.copy_(changed)  # in the memory order of `pictures`: else the CPU takes far longer


def _blurred(shown: torch.Tensor, sigma: torch.Tensor, augment: Augment) -> torch.Tensor:
    from kornia.filters import gaussian_blur2d

    side = 2 * augment.blur_reach + 1
    made: torch.Tensor = gaussian_blur2d(shown, (side, side), sigma[:, None].expand(-1, 2))
    return made


def _solarised(shown: torch.Tensor, threshold: torch.Tensor, augment: Augment) -> torch.Tensor:
    from kornia.enhance import solarize

    mean, std = upload(np.array([augment.mean, augment.std], np.float32), shown.device).view(2, 3, 1, 1)
    made: torch.Tensor = (solarize(shown * std + mean, threshold) - mean) / std
    return made


def _inside(rectangle: npt.NDArray[np.int64], pictures: torch.Tensor) -> torch.Tensor:
    """Which pixels lie in the rectangle of their picture: bool [N, K or 1, T or 1, h, w]."""
    from kornia.geometry.bbox import bbox_generator, bbox_to_mask

    boxes = bbox_generator(*torch.from_numpy(rectangle.reshape(-1, 4)).float().unbind(1))  # a width of 0 holds no pixel
    height, width = pictures.shape[-2:]
    made: torch.Tensor = bbox_to_mask(upload(boxes.numpy(), pictures.device), width, height) > 0
    return made.view(*rectangle.shape[:-1], height, width)


def _in_cells(hidden: npt.NDArray[np.bool_], pictures: torch.Tensor) -> torch.Tensor:
    """Which pixels lie in hidden cells: bool [N, K or 1, T or 1, h, w]. Not by kornia, which has no mask of cells."""
    sides = zip(pictures.shape[-2:], hidden.shape[-2:], strict=True)
    cell_of = (np.arange(pixels) * cells // pixels for pixels, cells in sides)
    cells, row, column = upload_together([hidden.view(np.uint8), *cell_of], pictures.device)
    return cells.bool()[..., row, :][..., column]


def _mask(pictures: torch.Tensor, mask: torch.Tensor) -> None:
    pictures.masked_fill_(mask[:, :, :, None], 0)


def _shape(spec: PlanSpec, scope: Scope) -> tuple[int, int]:
    """Draws of a tuple: (K or 1, T or 1)."""
    return (1 if scope == "tuple" else spec.slots), (spec.times if scope == "frame" else 1)


def _unit(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Evenly in 0..1, below 1, as in the kernels."""
    return (words >> 8) / 2.0**24


def _between(ends: tuple[float, ...], value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ends[0] + (ends[1] - ends[0]) * value
