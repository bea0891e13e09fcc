"""Blur, solarise, cutout and tubes beside kornia's own augmentations: differences for the same draws, and cost.

    python -m benchmarks.bench_effects --picture docs/effects.png --out benchmarks/results      1 minute

Differences are in grey levels of 0..255, of a rendered picture that moves. kornia's augmentations get our draws in the
place of their own; it has no mask of cells, so its part of the tubes is one box over time for each cell.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import kornia
import numpy as np
import torch
import tyro

from benchmarks.bench_augment import CROP, HEIGHT, TUPLE, WIDTH, draw, scene
from benchmarks.harness import Case, compare, interleave, report, timed
from vidssl import ops
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.effects import Drawn, apply_effects, draw_effects

EFFECTS: dict[str, dict[str, Any]] = {
    "blur": {"blur": 1.0},
    "solarise": {"solarise": 1.0, "solarise_threshold": (0.3, 0.7), "color_scope": "clip"},
    "cutout": {"cutout": 1.0},
    "tubes": {"tubes": 0.5},
}
BATCH, SEED = 4, 5  # tuples


def blurred(shown: torch.Tensor, drawn: Drawn, augment: Augment) -> torch.Tensor:
    """What kornia makes of pictures [N * K * T, 3, h, w] in 0..1, as the three functions below."""
    sigma = torch.from_numpy(drawn.sigma.reshape(-1))
    side = 2 * augment.blur_reach + 1
    random = kornia.augmentation.RandomGaussianBlur((side, side), augment.blur_sigma, p=1.0)
    return _put(shown, sigma > 0, lambda some, on: random(some, params=_all(on, sigma=sigma[on])))


def solarised(shown: torch.Tensor, drawn: Drawn, augment: Augment) -> torch.Tensor:
    threshold = torch.from_numpy(drawn.threshold.reshape(-1))
    random = kornia.augmentation.RandomSolarize(p=1.0)

    def change(some: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = random(some, params=_all(on, thresholds=threshold[on], additions=torch.zeros(len(some))))
        return made

    return _put(shown, threshold.isfinite(), change)


def cut_out(shown: torch.Tensor, drawn: Drawn, augment: Augment) -> torch.Tensor:
    """kornia fills all channels with one value: it gets one channel after the other."""
    whole = np.broadcast_to(drawn.rectangle, (*drawn.sigma.shape, 4))
    rectangle = torch.from_numpy(whole.reshape(-1, 4)).float()
    random = kornia.augmentation.RandomErasing(p=1.0)

    def change(some: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
        box = dict(zip(("xs", "ys", "widths", "heights"), rectangle[on].unbind(1), strict=True))
        filled = [torch.full((len(some),), mean) for mean in augment.mean]
        each = [random(some[:, at : at + 1], params=_all(on, **box, values=one)) for at, one in enumerate(filled)]
        return torch.cat(each, 1)

    return _put(shown, rectangle[:, 2] > 0, change)


def hidden(shown: torch.Tensor, drawn: Drawn, augment: Augment) -> torch.Tensor:
    tuples, slots, times = drawn.sigma.shape
    shown, size = shown.clone().view(tuples, slots, times, *shown.shape[1:]), tuple(shown.shape[-2:])
    mean = torch.tensor(augment.mean)[:, None]
    for n, k, _, *cell in np.argwhere(drawn.hidden).tolist():
        sides = list(zip(cell, size, augment.tube_cells, strict=True))
        y, x = ((-(-at * side // cells), -(-(at + 1) * side // cells) - 1) for at, side, cells in sides)
        corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
        box = torch.tensor([[(*corner, time) for time in (0, times - 1) for corner in corners]]).float()
        inside = kornia.geometry.bbox.bbox_to_mask3d(box, (times, *size))[0, 0] > 0
        shown[n, k].transpose(0, 1)[:, inside] = mean
    return shown.flatten(0, 2)


OTHERS: dict[str, Callable[[torch.Tensor, Drawn, Augment], torch.Tensor]] = {
    "blur": blurred,
    "solarise": solarised,
    "cutout": cut_out,
    "tubes": hidden,
}


def _all(on: torch.Tensor, **params: torch.Tensor) -> dict[str, torch.Tensor]:
    """Parameters of kornia, with which it changes every picture that it gets."""
    return {**params, "batch_prob": torch.ones(int(on.sum()))}


def _put(
    shown: torch.Tensor, on: torch.Tensor, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    out = shown.clone()
    out[on] = change(shown[on], on)
    return out


def table(name: str | None) -> PlanSpec:
    """Three clips of 16 frames with one of the effects, or none."""
    augment = Augment(crop=(CROP, CROP), mean=(0.45,) * 3, std=(0.225,) * 3, **EFFECTS.get(name or "", {}))
    return PlanSpec(arrangements=TUPLE, labels=np.zeros(1), bases=3, length=16, augment=augment)


def clips() -> torch.Tensor:
    """Normalised clips [BATCH, 3, 3, 16, CROP, CROP] of the scene, moving, in the memory order of training."""
    frames = np.stack([np.roll(scene(), 3 * at, axis=1) for at in range(48)])
    out = torch.empty(BATCH, 3, 16, CROP, CROP, 3)
    for sample, one in enumerate(out.permute(0, 1, 5, 2, 3, 4)):
        plan = ops.plan(table(None), frames=48, size=(HEIGHT, WIDTH), seed=SEED, epoch=0, sample=sample)
        one.copy_(torch.from_numpy(ops.assemble(frames, plan, size=(CROP, CROP))))
    return out.permute(0, 1, 5, 2, 3, 4)


def pictures(shown: torch.Tensor, augment: Augment) -> torch.Tensor:
    """[N * K * T, 3, h, w] in 0..1."""
    flat: torch.Tensor = augment.denormalize(shown).transpose(2, 3).flatten(0, 2)
    return flat


def pairs(samples: int) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Of each effect: our pictures and kornia's, in 0..255, of `samples` tuples; what changes most comes last."""
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for name, other in OTHERS.items():
        spec, rows = table(name), []
        for first in range(0, samples, BATCH):
            shown = clips()
            before = pictures(shown, spec.augment)
            drawn = draw_effects(spec, seed=SEED, epoch=0, samples=range(first, first + BATCH))
            apply_effects(shown, drawn, spec.augment)
            mine, its = pictures(shown, spec.augment), other(before, drawn, spec.augment)
            rows += [
                (float((one - old).abs().mean()), 255 * one, 255 * two)
                for one, two, old in zip(mine, its, before, strict=True)
            ]
        found[f"{name}: kornia"] = [(one, two) for _, one, two in sorted(rows, key=lambda row: row[0])]
    return found


def cost(repeats: int, facts: dict[str, Any], out: Path | None) -> None:
    """Measures a tuple of plan and assemble, of each effect, and of kornia's augmentation with its own draws."""
    frames, shown = np.stack([scene()] * 48), clips()
    flat = pictures(shown, table(None).augment).contiguous()
    made = np.empty((3, 16, CROP, CROP, 3), np.float32)

    def assemble() -> None:
        plan = ops.plan(table(None), frames=48, size=(HEIGHT, WIDTH), seed=SEED, epoch=0, sample=0)
        ops.assemble(frames, plan, size=(CROP, CROP), layout="kthwc", out=made)

    def effect(spec: PlanSpec) -> None:
        apply_effects(shown, draw_effects(spec, seed=SEED, epoch=0, samples=range(BATCH)), spec.augment)

    cases: dict[str, Case] = {"plan and assemble": timed(assemble)}
    for name in EFFECTS:
        cases[name] = timed(partial(effect, table(name)), items=BATCH)
    random = {
        "RandomGaussianBlur": kornia.augmentation.RandomGaussianBlur((13, 13), (0.1, 2.0), p=1.0),
        "RandomSolarize": kornia.augmentation.RandomSolarize(p=1.0),
        "RandomErasing": kornia.augmentation.RandomErasing(p=1.0),
    }
    for name, augmentation in random.items():
        cases[f"kornia {name}"] = timed(partial(augmentation, flat), items=BATCH)
    spent = interleave(cases, repeats=repeats)
    workload = f"effects of every frame of {BATCH} tuples of three clips of 16 frames, {CROP} x {CROP}, one thread"
    facts = {**facts, "kornia": kornia.__version__}
    report(compare("effects", workload, spent, subject="plan and assemble", item="tuple", facts=facts), out)


def main(picture: Path | None = None, samples: int = 8, repeats: int = 15, out: Path | None = None) -> None:
    """Prints the differences and the cost.

    Args:
        picture: PNG file to draw: a row for each effect, with ours, kornia's, and four times the difference.
        samples: Tuples of 48 frames that are compared; a multiple of 4.
        repeats: Rounds of the cost.
        out: Folder or .jsonl file that gets the result.
    """
    torch.set_num_threads(1)
    found = pairs(samples)
    facts = {}
    for name, shown in found.items():
        apart = [(mine - other).abs() for mine, other in shown]
        facts[f"largest difference, {name}"] = round(max(float(one.max()) for one in apart), 5)
        print(f"{name}: largest difference {facts[f'largest difference, {name}']} grey levels")
    if picture is not None:
        draw(found, picture)
    cost(repeats, facts, out)


if __name__ == "__main__":
    tyro.cli(main)
