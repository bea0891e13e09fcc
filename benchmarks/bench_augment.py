"""Short side, random resized crop and hue beside kornia's and torch's: differences for the same draws, and cost.

    python -m pip install --no-deps kornia==0.9.0 kornia_rs==0.2.0
    python -m benchmarks.bench_augment --picture docs/augmentation.png

Differences are in grey levels of 0..255, of a rendered picture. Cost is processor time on one thread, interleaved.
"""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import kornia
import numpy as np
import numpy.typing as npt
import torch
import tyro
from PIL import Image, ImageDraw

from vidssl import ops
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import Plan

HEIGHT, WIDTH, CROP = 240, 320, 112
LEVELS: dict[str, Any] = {"std": (1 / 255,) * 3}  # the pictures stay in 0..255
TUPLE = np.arange(48).reshape(1, 3, 16)  # three clips of 16 frames
Picture = npt.NDArray[np.uint8]


def scene() -> Picture:
    """Waves of colour with three discs: smooth parts and sharp edges. uint8 [H, W, 3]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    shown = 128 + 90 * np.stack([np.sin(x / 40), np.cos(y / 33), np.sin((x + y) / 50)], axis=-1)
    for cx, cy, color in ((80, 70, (230, 40, 40)), (220, 150, (40, 200, 60)), (160, 60, (50, 60, 220))):
        shown[(x - cx) ** 2 + (y - cy) ** 2 < 35**2] = color
    return shown.clip(0, 255).round().astype(np.uint8)


def ours(picture: Picture, augment: Augment, sample: int, *, train: bool = True) -> tuple[Plan, torch.Tensor]:
    """The plan of one picture, and what assemble makes of it: [3, h, w] in 0..255."""
    spec = PlanSpec(arrangements=np.zeros((1, 1, 1)), labels=np.zeros(1), bases=1, augment=augment)
    made = ops.plan(spec, frames=1, size=(HEIGHT, WIDTH), seed=5, epoch=0, sample=sample, train=train)
    return made, torch.from_numpy(ops.assemble(picture[None], made, size=augment.crop)[0, :, 0])


def antialiased(shown: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(shown, size, mode="bilinear", antialias=True)[0]


def pairs(picture: Picture, samples: int) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Of each augmentation: what we show and what the other one shows."""
    whole = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float()[None]
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    short = Augment(short_side=120, crop=(120, 120), **LEVELS)
    _, mine = ours(picture, short, 0, train=False)
    found["short side: torch, antialias"] = [(mine, antialiased(whole, (120, 160))[..., 20:140])]
    other = kornia.geometry.resize(whole, 120, side="short", antialias=True)[0, ..., 20:140]
    found["short side: kornia resize, antialias"] = [(mine, other)]
    crop = Augment(short_side=HEIGHT, crop=(CROP, CROP), crop_area=(0.08, 1.0), **LEVELS)
    for sample in range(samples):
        plan, mine = ours(picture, crop, sample)
        x, y, w, h = (int(value) for value in plan.box[0, 0])
        cut = antialiased(whole[:, :, y : y + h, x : x + w], (CROP, CROP))
        found.setdefault("resized crop: torch, crop then antialias", []).append((mine, cut))
        inner = (..., slice(2, -2), slice(2, -2))
        found.setdefault("the same without a border of 2 pixels", []).append((mine[inner], cut[inner]))
        corners = torch.tensor([[[x, y], [x + w - 1, y], [x + w - 1, y + h - 1], [x, y + h - 1]]]).float()
        other = kornia.geometry.crop_and_resize(whole, corners, (CROP, CROP), align_corners=False)[0]
        found.setdefault("resized crop: kornia crop_and_resize, no antialias", []).append((mine, other))
    for spread in (0.05, 0.1, 0.5):
        hue = Augment(resize=(HEIGHT, WIDTH), crop=(HEIGHT, WIDTH), hue=spread, **LEVELS)
        for sample in range(samples):
            plan, mine = ours(picture, hue, sample)
            a, b, c = (float(value) for value in plan.color[0, 0, :, 0])
            turn = float(np.arctan2(b - c, (3 * a - 1) / np.sqrt(3)))
            other = kornia.enhance.adjust_hue(whole / 255, turn)[0] * 255
            found.setdefault(f"hue, spread {spread}: kornia adjust_hue", []).append((mine.clamp(0, 255), other))
    return found


def cost(rounds: int) -> None:
    """Prints the time of plan and assemble for a tuple with each augmentation."""
    plain: dict[str, Any] = {"flip": 0.5, "crop": (CROP, CROP)}
    settings = {
        "resize 128 x 171": Augment(**plain),
        "short side 128": Augment(**plain, short_side=128),
        "resized crops": Augment(**plain, short_side=128, crop_area=(0.08, 1.0)),
        "saturation": Augment(**plain, saturation=0.1),
        "hue": Augment(**plain, hue=0.1),
    }
    frames = np.random.default_rng(0).integers(0, 256, (48, HEIGHT, WIDTH, 3), dtype=np.uint8)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    out = np.empty((3, 3, 16, CROP, CROP), np.float32)
    for sample in range(rounds):
        for name, augment in settings.items():
            spec = PlanSpec(arrangements=TUPLE, labels=np.zeros(1), bases=3, length=16, augment=augment)
            began = process_time()
            made = ops.plan(spec, frames=48, size=(HEIGHT, WIDTH), seed=1, epoch=0, sample=sample)
            drawn = process_time()
            ops.assemble(frames, made, size=(CROP, CROP), out=out)
            times[name].append((drawn - began, process_time() - drawn))
    base = np.median([sum(one) for one in times["resize 128 x 171"]])
    for name, found in times.items():
        plan, assemble = 1e3 * np.median(found, axis=0)
        print(
            f"{name}: plan {plan:.2f} ms, assemble {assemble:.2f} ms a tuple, {1e-3 * (plan + assemble) / base:.2f} x"
        )
    clips = torch.from_numpy(out).permute(0, 2, 1, 3, 4).reshape(48, 3, CROP, CROP).clamp(0, 255) / 255
    spent = []
    for _ in range(5):
        began = process_time()
        kornia.enhance.adjust_hue(clips, 0.3)
        spent.append(process_time() - began)
    print(f"kornia adjust_hue of the same tuple: {1e3 * np.median(spent):.1f} ms")


def draw(found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]], path: Path) -> None:
    """Draws a row for each augmentation: ours, the other one, and four times their difference."""
    side = 120
    sheet = Image.new("RGB", (3 * side + 8, len(found) * (side + 16)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (name, shown) in enumerate(found.items()):
        mine, other = shown[-1]
        pen.text((2, row * (side + 16) + 2), name, fill="black")
        for column, tile in enumerate((mine, other, 4 * (mine - other).abs())):
            pixels = tile.clamp(0, 255).byte().permute(1, 2, 0).numpy()
            sheet.paste(Image.fromarray(pixels).resize((side, side)), (column * (side + 4), row * (side + 16) + 14))
    sheet.quantize(256, kmeans=1).save(path, optimize=True)


def main(picture: Path | None = None, samples: int = 40, rounds: int = 60) -> None:
    """Prints the differences and the cost.

    Args:
        picture: PNG file to draw: a row for each augmentation, with ours, the other one, and four times the difference.
        samples: Draws of each random augmentation.
        rounds: Tuples of which the cost is the median.
    """
    torch.set_num_threads(1)
    found = pairs(scene(), samples)
    for name, shown in found.items():
        apart = [(mine - other).abs() for mine, other in shown]
        most, mean = max(float(one.max()) for one in apart), np.mean([float(one.mean()) for one in apart])
        print(f"{name}: largest difference {most:.3f}, mean {mean:.3f} grey levels")
    cost(rounds)
    if picture is not None:
        draw(found, picture)


if __name__ == "__main__":
    tyro.cli(main)
