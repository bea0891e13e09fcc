"""How much do clips differ if frames are first reduced to a fixed size, as a store of that size keeps them?

    python -m benchmarks.bench_store_fidelity --data ../shared/data/real/tennis --out benchmarks/results

Without a store, a frame is resized and cropped once, from its decoded planes to RGB. With one, it is resized to 8-bit
planar YUV 4:2:0 first, and cropped from that. Both show the same crops of the same frames, without colour changes, in
grey levels (0..255) before they are rounded; once in RGB, and once in grey, which subsampled chroma hardly changes. The
size is each recipe's own resize, and twice of it. A family is one folder.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import tyro
from tqdm import tqdm

from benchmarks.harness import append, circumstances
from vidssl import VideoIndex, ops
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec, own_colors
from vidssl.recipes import RECIPES
from vidssl.types import Frames, VidsslError
from vidssl.video.decode import decode

Size = tuple[int, int]
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
FRAMES = 16  # of a video, from its middle
BINS = 100  # of a grey level


class Case(NamedTuple):
    """How recipes resize and crop, and the size of the store in front of it."""

    resize: Size
    crop: Size
    store: Size


class Counts(NamedTuple):
    """int64 [256 * BINS] each: how many differences lie in each bin."""

    rgb: npt.NDArray[np.int64]
    grey: npt.NDArray[np.int64]

    @classmethod
    def of(cls, signed: npt.NDArray[np.float32]) -> Counts:
        """signed: float32 [1, 3, F, h, w], differences of RGB in grey levels."""
        return cls(_histogram(signed), _histogram(np.tensordot(GREY, signed, axes=(0, 1))))

    def plus(self, other: Counts) -> Counts:
        return Counts(self.rgb + other.rgb, self.grey + other.grey)


def _histogram(signed: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    return np.bincount((np.abs(signed).ravel() * BINS).astype(np.int64), minlength=256 * BINS)


def cases() -> dict[Case, list[str]]:
    """The cases, and the recipes of each."""
    found: dict[Case, list[str]] = {}
    for name, recipe in RECIPES.items():
        augment = recipe().pretext.augment
        for factor in (1, 2):
            height, width = augment.resize
            found.setdefault(Case(augment.resize, augment.crop, (factor * height, factor * width)), []).append(name)
    return found


def difference(frames: Frames, case: Case, sample: int) -> npt.NDArray[np.float32]:
    """Differences in grey levels, float32 [1, 3, F, h, w], of a random crop of each frame."""
    spec = PlanSpec(
        arrangements=np.arange(len(frames.data))[None, None],
        labels=np.zeros(1),
        bases=1,
        length=len(frames.data),
        augment=Augment(resize=case.resize, crop=case.crop, crop_scope="frame"),
    )

    def shown(source: Frames) -> npt.NDArray[np.float32]:
        drawn = ops.plan(spec, frames=len(source.data), size=source.size, seed=0, epoch=0, sample=sample)
        return np.asarray(ops.assemble(source, own_colors(drawn), size=case.crop))

    return shown(ops.reduce(frames, case.store)) - shown(frames)


def facts(counts: Counts) -> dict[str, float]:
    """Mean and 99.9th percentile, to the width of a bin."""
    found = {}
    middle = (np.arange(256 * BINS) + 0.5) / BINS
    for name, one in counts._asdict().items():
        at = int(np.searchsorted(np.cumsum(one), 0.999 * one.sum()))
        found[f"{name} mean"] = round(float((one * middle).sum() / one.sum()), 2)
        found[f"{name} 99.9 %"] = round(float(middle[at]), 1)
    return found


def measure(folder: Path, most: int) -> tuple[int, dict[Case, Counts]]:
    """One family. Returns the number of its videos, and the counts of each case.

    Raises:
        VidsslError: No video has FRAMES frames.
    """
    index = VideoIndex.build(folder, progress=False)
    rows = index.usable(FRAMES)
    if not len(rows):
        raise VidsslError(f"--data {folder}: no video of at least {FRAMES} frames in it; name folders of videos")
    rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    found: dict[Case, Counts] = {}
    for row in tqdm(rows, desc=folder.name, unit="video", leave=False, disable=None):
        video = index.video(int(row))
        first = (video.frames - FRAMES) // 2
        frames = decode(video, np.arange(first, first + FRAMES))
        for case in cases():
            counts = Counts.of(difference(frames, case, int(row)))
            found[case] = found[case].plus(counts) if case in found else counts
    return len(rows), found


def main(*, data: tuple[Path, ...], out: Path | None = None, most: int = 60) -> None:
    """Measure how clips from a store differ from clips without one, in grey levels.

    Args:
        data: Folders of videos; each is a family.
        out: File (.jsonl) to append to, or a folder for a file named after the machine, the day and the commit; none
            only prints.
        most: Videos of a family; of more, some are taken evenly.
    """
    torch.set_num_threads(1)
    if most < 1:
        raise VidsslError(f"most={most}: take at least 1")
    families = {folder.name: measure(folder, most) for folder in data}
    for case, recipes in cases().items():
        counts = {name: found[case] for name, (_, found) in families.items()}
        levels = {f"{name}, {families[name][0]} videos": facts(one) for name, one in counts.items()}
        levels["all"] = facts(reduce(Counts.plus, counts.values()))
        store, resize, crop = (f"{height}x{width}" for height, width in (case.store, case.resize, case.crop))
        name = f"store {store}, resize {resize}, crop {crop}"
        print(name, ", ".join(recipes), *(f"  {family}: {value}" for family, value in levels.items()), sep="\n")
        line = {"bench": "store_fidelity", "workload": name, "recipes": recipes, "grey levels": levels}
        append({**line, **circumstances()}, out)


if __name__ == "__main__":
    tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
