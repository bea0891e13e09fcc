"""Readable reference implementations of motion, reduce, plan, assemble and the draws of effects, in numpy or cupy.

They are slow, and only for tests and benchmarks. Pass cupy arrays for cupy. It is long because it holds all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vidssl.kernels.plan import PlanSpec
from vidssl.types import Array, ColorSpace, Plan

CELL = 16
_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_PURPOSES = {"base": 2, "gap": 3, "arrangement": 4, "crop": 5, "flip": 6, "color": 7, "jitter": 8, "crop_size": 10}
_PURPOSES |= {"blur": 11, "solarise": 12, "cutout": 13, "tubes": 14}


def _module(array: Array) -> Any:
    if type(array).__module__.startswith("cupy"):
        import cupy

        return cupy
    return np


# ---- frames ----


def planes(data: Array, size: tuple[int, int]) -> list[Array]:
    """Three arrays [F, h, w]: Y, U, V of planar YUV 4:2:0, or R, G, B; cropped to the picture."""
    height, width = size
    if data.ndim == 4:
        return [data[:, :height, :width, channel] for channel in range(3)]
    count, lines, cols = data.shape
    rows = lines // 3 * 2
    chroma = data[:, rows:].reshape(count, 2, rows // 2, cols // 2)[:, :, : (height + 1) // 2, : (width + 1) // 2]
    return [data[:, :rows][:, :height, :width], chroma[:, 0], chroma[:, 1]]


def luma(data: Array, size: tuple[int, int]) -> Array:
    """int32 [F, H, W]: the Y plane, or 16 + ((66 R + 129 G + 25 B + 128) >> 8)."""
    first, second, third = (plane.astype("int32") for plane in planes(data, size))
    return first if data.ndim == 3 else 16 + ((66 * first + 129 * second + 25 * third + 128) >> 8)


# ---- motion ----


def motion(data: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """(sad uint32 [F - 1, gh, gw], thumb uint8 [F, 16, 16]) as csrc/kernels/motion.h defines them."""
    xp, picture, (height, width) = _module(data), luma(data, size), size
    rows, cols = -(-height // CELL), -(-width // CELL)
    full = xp.zeros((picture.shape[0], rows * CELL, cols * CELL), dtype="int64")
    full[:, :height, :width] = picture
    blocks = full.reshape(-1, rows, 4, 4, cols, 4, 4).sum(axis=(3, 6))  # [F, rows, 4, cols, 4] sums of 4 x 4 blocks
    sad = abs(blocks[1:] - blocks[:-1]).sum(axis=(2, 4)).astype("uint32")
    thumb = xp.zeros((picture.shape[0], 16, 16), dtype="uint8")
    for i in range(16):
        for j in range(16):
            cell = picture[:, _cell(i, height), _cell(j, width)].reshape(picture.shape[0], -1)
            count = cell.shape[1]
            thumb[:, i, j] = (cell.sum(axis=1) + count // 2) // count
    return sad, thumb


def _cell(i: int, pixels: int) -> slice:
    first, last = i * pixels // 16, (i + 1) * pixels // 16
    return slice(first, max(last, first + 1), max(1, pixels // 64))


# ---- reduce ----


def reduce(data: Array, picture: tuple[int, int], chroma: tuple[float, float], size: tuple[int, int]) -> list[Array]:
    """float64 [F, h, w] for Y, U and V: the planes before they are rounded, as csrc/kernels/reduce.h defines them."""
    out = []
    for c, plane in enumerate(planes(data, picture)):
        filters = []
        for axis in range(2):
            scale, length = picture[axis] / size[axis], plane.shape[1 + axis]
            count = (size[axis] + 1) // 2 if c else size[axis]
            origin = (0.5 - chroma[1 - axis]) / 2 if c else 0.0
            filters.append(weights(origin, scale * count, count, length))
        out.append(filters[0] @ plane.astype("float64") @ filters[1].T)
    return out


# ---- plan ----


def philox(key: int, high: int, low: int) -> list[int]:
    """The four 32-bit words of Philox4x32-10."""
    c = [low & _MASK32, low >> 32, high & _MASK32, high >> 32]
    k = [key & _MASK32, key >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & _MASK32, (p >> 32) ^ c[3] ^ k[1], p & _MASK32]
        k = [(k[0] + 0x9E3779B9) & _MASK32, (k[1] + 0xBB67AE85) & _MASK32]
    return c


def _unit(word: int) -> float:
    return (word >> 8) / 2**24


class _Draws:
    def __init__(self, seed: int, epoch: int, sample: int) -> None:
        self.seed, self.epoch, self.sample = seed, epoch, sample

    def __call__(self, purpose: str, index: int) -> list[int]:
        return philox(self.seed, self.sample, self.epoch | _PURPOSES[purpose] << 32 | index << 40)

    def below64(self, purpose: str, index: int, n: int) -> int:
        words = self(purpose, index)
        return (words[1] << 32 | words[0]) * n >> 64


def plan(
    spec: PlanSpec,
    *,
    frames: int,
    size: tuple[int, int],
    seed: int,
    epoch: int,
    sample: int,
    train: bool = True,
    sad: npt.NDArray[np.uint32] | None = None,
    thumb: npt.NDArray[np.uint8] | None = None,
) -> Plan:
    """The plan of one sample, as csrc/kernels/plan.h defines it. Takes host arrays only."""
    draws = _Draws(seed, epoch, sample)
    energy = [1] * frames
    if spec.weight == "motion" and sad is not None:
        sums = [int(part.sum()) for part in sad]
        energy = [total + 1 for total in (sums[:1] or [0]) + sums]
    start, status = [0] * (spec.groups * spec.bases), 0
    if frames < spec.span:
        status = 3
    else:
        for group in range(spec.groups):
            found = 1
            for attempt in range(spec.tries):
                bases = _bases(spec, draws, energy, group, attempt)
                found = _verdict(spec, bases, thumb)
                if found == 0:
                    break
            start[group * spec.bases : (group + 1) * spec.bases] = bases
            status = found or status
    row = draws("arrangement", 0)[0] * len(spec.labels) >> 32
    cell, shown = np.divmod(spec.arrangements[row], spec.groups * spec.bases * spec.length)
    frame = np.zeros_like(shown)
    if status != 3:
        frame = np.array(start)[shown // spec.length] + shown % spec.length * spec.stride
    picture = _resized(spec, size)
    pool = [base + t * spec.stride for base in start for t in range(spec.length)] if status != 3 else []
    region = _region(spec, size, picture, sad, pool)
    cells = [[_in_cell(spec, region, int(number)) for number in row] for row in cell]
    box = np.array(
        [
            [_box(spec, draws, size, picture, cells[k][t], k, t, train) for t in range(spec.times)]
            for k in range(spec.slots)
        ],
        dtype=np.float32,
    )
    color = np.array(
        [[_color(spec, draws, k, t, train) for t in range(spec.times)] for k in range(spec.slots)], dtype=np.float32
    )
    shared = spec.augment.flip_scope == "tuple"
    flip = [
        train and _unit(draws("flip", 0 if shared else k)[0]) < np.float32(spec.augment.flip) for k in range(spec.slots)
    ]
    return Plan(
        frame=frame.astype(np.int32),
        box=box,
        flip=np.array(flip, dtype=np.uint8),
        color=color,
        label=np.int64(spec.labels[row]),
        status=np.int32(status),
    )


def _bases(spec: PlanSpec, draws: _Draws, energy: list[int], group: int, attempt: int) -> list[int]:
    extent, index = (spec.length - 1) * spec.stride + 1, attempt * 64 + group * spec.bases
    if spec.draw == "chain":
        low, high = spec.gap
        offset = [0]
        for base in range(1, spec.bases):
            gap = low + (draws("gap", index + base)[0] * (high - low + 1) >> 32)
            offset.append(offset[-1] + extent + gap)
        first = _place(draws, index, _weights(spec, energy, offset[-1] + extent), [])
        return [first + at for at in offset]
    weights, start = _weights(spec, energy, extent), list[int]()
    for base in range(spec.bases):
        start.append(_place(draws, index + base, weights, start))
    return sorted(start)


def _weights(spec: PlanSpec, energy: list[int], extent: int) -> list[int]:
    places = len(energy) - extent + 1
    return [sum(energy[p : p + extent]) if spec.weight == "motion" else 1 for p in range(places)]


def _place(draws: _Draws, index: int, weights: list[int], taken: list[int]) -> int:
    left = [0 if p in taken else weight for p, weight in enumerate(weights)]
    threshold = draws.below64("base", index, sum(left))
    return int(np.searchsorted(np.cumsum(np.array(left, dtype=object)), threshold, side="right"))


def _verdict(spec: PlanSpec, bases: list[int], thumb: npt.NDArray[np.uint8] | None) -> int:
    for i, j, low, high in spec.limits:
        if not low <= bases[j] - bases[i] <= high:
            return 1
    for i, j in spec.distinct:
        assert thumb is not None
        if ((thumb[bases[i]].astype(np.int64) - thumb[bases[j]]) ** 2).sum() < spec.distinct_min:
            return 2
    return 0


def _key(scope: str, slot: int, time: int, times: int) -> int:
    return {"frame": slot * times + time, "clip": slot * times, "tuple": 0}[scope]


def _resized(spec: PlanSpec, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the resized picture."""
    short = spec.augment.short_side
    return spec.augment.resize if short is None else (short * size[0] // min(size), short * size[1] // min(size))


def _region(
    spec: PlanSpec,
    size: tuple[int, int],
    picture: tuple[int, int],
    sad: npt.NDArray[np.uint32] | None,
    pool: list[int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(y, x) and (height, width), in resized pixels, of the used part of the picture."""
    a = spec.augment
    if a.region is None:
        return (0, 0), picture
    centre = (round((picture[0] - a.region[0]) / 2), round((picture[1] - a.region[1]) / 2))  # halves become even
    if sad is None or not len(sad) or not pool:
        return centre, a.region
    motion = sum(sad[max(f - 1, 0)].astype(np.int64) for f in pool)
    cells = [max(1, a.region[axis] * size[axis] // (picture[axis] * CELL)) for axis in range(2)]
    score = np.lib.stride_tricks.sliding_window_view(motion, cells).sum(axis=(2, 3))
    if score.max() == 0:
        return centre, a.region
    best = np.unravel_index(score.argmax(), score.shape)
    y, x = (
        min(int(best[axis]) * CELL * picture[axis] // size[axis], picture[axis] - a.region[axis]) for axis in range(2)
    )
    return (y, x), a.region


def _in_cell(
    spec: PlanSpec, region: tuple[tuple[int, int], tuple[int, int]], cell: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(y, x) and (height, width) of a cell of the grid within the region."""
    (y, x), (height, width) = region
    sides = (height // spec.grid[0], width // spec.grid[1])
    row, column = divmod(cell, spec.grid[1])
    return (y + row * sides[0], x + column * sides[1]), sides


def _power_of_two(x: float) -> float:
    whole = math.floor(x)
    f = x - whole
    return math.ldexp(1 + f - f * (1 - f) * (0.306995 + f * (0.065456 + f * 0.013689)), whole)


def _crop_size(spec: PlanSpec, draws: _Draws, extent: tuple[int, int], key: int, train: bool) -> tuple[int, int]:
    """(height, width) of a crop in resized pixels; 64-bit floats, in the order of operations of the kernels."""
    a = spec.augment
    if not train or a.crop_area is None:
        return a.crop
    low, high = (round(math.log2(end) * 2**20) / 2**20 for end in a.crop_aspect)
    for attempt in range(10):
        words = draws("crop_size", key * 10 + attempt)
        cut = extent[0] * extent[1] * (a.crop_area[0] + (a.crop_area[1] - a.crop_area[0]) * (words[0] / 2**32))
        aspect = _power_of_two(low + (high - low) * (words[1] / 2**32))
        width, height = math.floor(math.sqrt(cut * aspect) + 0.5), math.floor(math.sqrt(cut / aspect) + 0.5)
        if 1 <= width <= extent[1] and 1 <= height <= extent[0]:
            return height, width
    height, width = extent
    if width < height * _power_of_two(low):
        height = math.floor(width / _power_of_two(low) + 0.5)
    if width > height * _power_of_two(high):
        width = math.floor(height * _power_of_two(high) + 0.5)
    return max(1, height), max(1, width)


def _box(
    spec: PlanSpec,
    draws: _Draws,
    size: tuple[int, int],
    picture: tuple[int, int],
    region: tuple[tuple[int, int], tuple[int, int]],
    slot: int,
    time: int,
    train: bool,
) -> list[np.float32]:
    a, (corner, extent) = spec.augment, region
    at, box = [], []
    jitter = draws("jitter", slot * spec.times + time)
    key = _key(a.crop_scope, slot, time, spec.times)
    crop, cut = draws("crop", key), _crop_size(spec, draws, extent, key, train)
    for axis in range(2):
        margin = extent[axis] - cut[axis]
        offset = round(margin / 2)  # a half becomes the even number, as in torchvision's CenterCrop
        if train:
            offset = crop[axis] * (margin + 1) >> 32
            moved = offset + (jitter[axis] * (2 * a.jitter + 1) >> 32) - a.jitter
            offset = moved if 0 <= moved <= margin else offset
        at.append(np.float32((corner[axis] + offset) * size[axis]) / np.float32(picture[axis]))
        box.append(np.float32(cut[axis] * size[axis]) / np.float32(picture[axis]))
    return [at[1], at[0], box[1], box[0]]


def _color(spec: PlanSpec, draws: _Draws, slot: int, time: int, train: bool) -> npt.NDArray[np.float64]:
    a, map_ = spec.augment, np.eye(3, 4)
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    if train:
        key = _key(a.color_scope, slot, time, spec.times)
        words, more = draws("color", 2 * key), draws("color", 2 * key + 1)
        factor = [
            1 + spread * (2 * _unit(word) - 1)
            for spread, word in zip((a.brightness, a.contrast, a.saturation), words, strict=False)
        ]
        map_ = factor[0] * map_
        map_ = factor[1] * map_ + np.array([0, 0, 0, 128 * (1 - factor[1])])
        map_ = (factor[2] * np.eye(3) + (1 - factor[2]) * grey) @ map_
        angle = 2 * math.pi * float(np.float32(a.hue)) * (2 * _unit(more[2]) - 1)
        if a.hue > 0:  # a rotation around the axis of the greys, by Rodrigues' formula
            axis = np.ones(3) / math.sqrt(3)
            turned = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * np.outer(axis, axis)
            map_ = (turned + np.sin(angle) * np.cross(np.eye(3), axis)) @ map_
        if _unit(words[3]) < np.float32(a.grey):
            map_ = grey @ map_
        if _unit(more[0]) < np.float32(a.split):
            map_ = np.eye(3, 4)[[more[1] * 3 >> 32] * 3]
    map_ = map_ / (255 * np.array(a.std)[:, None])
    map_[:, 3] -= np.array(a.mean) / np.array(a.std)
    return np.asarray(map_, dtype=np.float64)


# ---- effects ----


def effects(spec: PlanSpec, *, seed: int, epoch: int, sample: int) -> list[list[dict[str, Any]]]:
    """What the loader draws for each slot and time of a tuple: the settings of the effects that it gets."""
    a, draws = spec.augment, _Draws(seed, epoch, sample)

    def numbers(purpose: str, scope: str, k: int, t: int, count: int) -> list[int]:
        key, each = {"frame": k * spec.times + t, "clip": k, "tuple": 0}[scope], -(-count // 4)
        return [word for n in range(each) for word in draws(purpose, key * each + n)][:count]

    def between(ends: tuple[float, float], word: int) -> float:
        return ends[0] + (ends[1] - ends[0]) * _unit(word)

    def one(k: int, t: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        on, value = numbers("blur", a.blur_scope, k, t, 2)
        if _unit(on) < a.blur:
            found["sigma"] = between(a.blur_sigma, value)
        on, value = numbers("solarise", a.color_scope, k, t, 2)
        if _unit(on) < a.solarise:
            found["threshold"] = between(a.solarise_threshold, value)
        on, area, aspect, x, y = numbers("cutout", a.mask_scope, k, t, 5)
        if _unit(on) < a.cutout:
            pixels = between(a.cutout_area, area) * a.crop[0] * a.crop[1]
            ratio = math.exp(between((math.log(a.cutout_aspect[0]), math.log(a.cutout_aspect[1])), aspect))
            width = min(max(round(math.sqrt(pixels * ratio)), 1), a.crop[1])
            height = min(max(round(math.sqrt(pixels / ratio)), 1), a.crop[0])
            corner = (x * (a.crop[1] - width + 1) >> 32, y * (a.crop[0] - height + 1) >> 32)
            found["rectangle"] = (*corner, width, height)
        rows, columns = a.tube_cells
        keys = numbers("tubes", a.mask_scope, k, t, rows * columns)
        least = sorted(range(rows * columns), key=keys.__getitem__)[: round(a.tubes * rows * columns)]
        found["hidden"] = {(cell // columns, cell % columns) for cell in least}
        return found

    return [[one(k, t) for t in range(spec.times)] for k in range(spec.slots)]


# ---- assemble ----


def weights(origin: float, extent: float, outputs: int, pixels: int) -> npt.NDArray[np.float64]:
    """[outputs, pixels]: the antialiasing triangle filter of a box along one axis; each row sums to 1."""
    scale = extent / outputs
    radius = max(1.0, scale)
    center = origin + (np.arange(outputs)[:, None] + 0.5) * scale
    matrix = np.maximum(0, 1 - abs(np.arange(pixels) + 0.5 - center) / radius)
    outside = matrix.sum(axis=1) == 0  # a box outside of the picture shows the border pixel
    matrix[outside, np.clip(np.floor(center[outside, 0]), 0, pixels - 1).astype(int)] = 1
    normal: npt.NDArray[np.float64] = np.divide(matrix, matrix.sum(axis=1, keepdims=True))
    return normal


def assemble(data: Array, picture: tuple[int, int], space: ColorSpace, plan: Plan, *, size: tuple[int, int]) -> Array:
    """float64 [K, 3, T, h, w], as csrc/kernels/assemble.h defines it."""
    xp, yuv = _module(data), data.ndim == 3
    source = planes(data, picture)
    slots, times = plan.frame.shape
    out = xp.zeros((slots, 3, times, *size))
    for k in range(slots):
        for t in range(times):
            x, y, w, h = (float(value) for value in plan.box[k, t])
            channels = []
            for c, plane in enumerate(source):
                rows, cols = plane.shape[1:]
                if yuv and c:
                    down = weights((y + 0.5 - space.chroma[1]) / 2, h / 2, size[0], rows)
                    right = weights((x + 0.5 - space.chroma[0]) / 2, w / 2, size[1], cols)
                else:
                    down, right = weights(y, h, size[0], rows), weights(x, w, size[1], cols)
                channels.append(xp.asarray(down) @ plane[int(plan.frame[k, t])].astype("float64") @ xp.asarray(right).T)
            rgb = xp.stack(channels)
            to_rgb = xp.asarray(space.to_rgb, dtype="float64")
            rgb = xp.tensordot(to_rgb[:, :3], rgb, 1) + to_rgb[:, 3, None, None]
            rgb = rgb.clip(0, 255)
            color = xp.asarray(plan.color[k, t], dtype="float64")
            shown = xp.tensordot(color[:, :3], rgb, 1) + color[:, 3, None, None]
            out[k, :, t] = shown[..., ::-1] if plan.flip[k] else shown
    return out
